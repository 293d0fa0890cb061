import { constants, setPriority } from 'node:os';
import { examine, type Finding, type ServiceStatus } from '@dormouse/local';
import { accessOf } from './access.ts';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { paint } from './paint.ts';
import { dataFolder, dataOption, jsonOption } from './settings.ts';

export const doctor: Command = {
  summary:
    'Looks over a data directory and the system on it; says what is wrong, and what to do. Exit 1 if anything failed.',
  usage: '[options]',
  maxArguments: 0,
  options: { data: dataOption, json: jsonOption },
  async run(_positionals, options) {
    // A host on the same machine goes first.
    setPriority(constants.priority.PRIORITY_LOW);
    const findings: Finding[] = [];
    const tell = (finding: Finding) => {
      findings.push(finding);
      if (!options.json) process.stdout.write(`${lineOf(finding)}\n`);
    };
    const folder = dataFolder(options);
    tell({ check: 'node', state: 'ok', detail: process.versions.node });
    for await (const finding of examine(folder, Date.now())) tell(finding);
    for (const finding of await services(folder)) tell(finding);
    const healthy = findings.every(({ state }) => state !== 'fail');
    if (options.json) process.stdout.write(`${JSON.stringify({ healthy, findings })}\n`);
    return healthy ? 0 : 1;
  },
};

/** What only a running host knows. */
async function services(folder: string): Promise<Finding[]> {
  const client = await ConsoleClient.find(folder, accessOf({})).catch(() => undefined);
  if (!client) return [];
  const answer = await client.get<{ services: ServiceStatus[] }>('/api/services').catch((error: Error) => error);
  if (answer instanceof Error) {
    return [{ check: 'services', state: 'warn', detail: `not asked: ${answer.message}`, remedy: 'set DORMOUSE_TOKEN' }];
  }
  const failing = answer.services.filter(({ state }) => state === 'failing');
  if (failing.length === 0)
    return [{ check: 'services', state: 'ok', detail: `${answer.services.length}, none fails` }];
  return failing.map(({ name, lastExit }) => ({
    check: 'services',
    state: 'fail',
    detail: `${name} does not start: ${(lastExit?.reason ?? '').replaceAll('\n', ' ').slice(0, 300)}`,
    remedy: 'mend its code or its settings; it is tried again by itself, and its messages wait',
  }));
}

function lineOf({ check, state, detail, remedy }: Finding): string {
  const colour = { ok: 'green', warn: 'yellow', fail: 'red' } as const;
  const line = `${paint(colour[state], state.padEnd(4))}  ${check.padEnd(14)}  ${detail}`;
  return remedy === undefined ? line : `${line}\n${' '.repeat(22)}${paint('dim', `→ ${remedy}`)}`;
}
