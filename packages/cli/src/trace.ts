import type { Trace, TraceRow } from '@dormouse/console';
import type { Folded } from '@dormouse/core';
import type { Command, Options } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { failureOf } from './failing-service.ts';
import { paint, span, stamp } from './paint.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const trace: Command = {
  summary: 'What happened to a workflow: every event, who published it, who took it, what came of it.',
  usage: 'WF-… [options]',
  maxArguments: 1,
  options: {
    ...consoleOptions,
    payloads: { type: 'boolean', description: 'show the data of each event' },
    at: { type: 'string', value: 'N', description: 'instead: the workflow as it was after entry N of its log' },
    document: { type: 'string', value: 'NAME/ID', description: 'with --at: a document below it, as letters/L01' },
  },
  async run([workflowId], options) {
    if (!workflowId) throw new UsageError('trace needs the id of a workflow; `dormouse cases` lists them');
    const client = await ConsoleClient.connect(options);
    if (options.at !== undefined) {
      process.stdout.write(await asItWas(client, workflowId, options));
      return 0;
    }
    if (options.document !== undefined) throw new UsageError('--document is for use with --at N');
    const found = await client.get<Trace>(`/api/workflows/${encodeURIComponent(workflowId)}/trace`);
    if (options.json) {
      const rows = options.payloads ? found.rows : found.rows.map(({ data: _data, ...row }) => row);
      process.stdout.write(`${JSON.stringify({ workflowId, ...found, rows })}\n`);
      return 0;
    }
    const { journalBefore, filesAt } = found.removed ?? {};
    if (journalBefore !== undefined) {
      process.stdout.write(`Attempts that failed before ${stamp(journalBefore)} are no longer on record.\n`);
    }
    if (filesAt !== undefined) process.stdout.write(`Its files were removed at ${stamp(filesAt)}.\n`);
    if (found.erasedAt !== undefined)
      process.stdout.write(`Its personal data was erased at ${stamp(found.erasedAt)}.\n`);
    for (const row of found.rows) process.stdout.write(`${render(row, options.payloads === true)}\n`);
    for (const { name, dueAt } of found.pendingTimers) {
      process.stdout.write(`${paint('yellow', 'pending timer')} ${name}: ${stamp(dueAt)}\n`);
    }
    return 0;
  },
};

async function asItWas(client: ConsoleClient, workflowId: string, { at, document, json }: Options): Promise<string> {
  const query = document === undefined ? '' : `?document=${encodeURIComponent(String(document))}`;
  const path = `/api/workflows/${encodeURIComponent(workflowId)}/at/${encodeURIComponent(String(at))}${query}`;
  const was = await client.get<Folded & { readonly ref: string }>(path);
  if (json) return `${JSON.stringify(was)}\n`;
  return `${was.ref} after entry ${was.seq}, ${stamp(was.at)}\n${JSON.stringify(was.document, null, 2)}\n`;
}

function render(row: TraceRow, payloads: boolean): string {
  const lines = [`${stamp(row.at)}: ${row.from} → ${row.to}`, `  Topic: ${row.topic}`, `  Status: ${status(row)}`];
  if (row.note !== undefined) lines.push(`  Note: ${row.note}`);
  for (const [index, error] of row.errors.entries()) lines.push(paint('red', `  Attempt ${index + 1}: ${error}`));
  if (row.failing) lines.push(failureOf(row.to, row.failing).replace(/^/gm, '  '));
  if (payloads) lines.push(paint('dim', `  Data: ${JSON.stringify(row.data)}`));
  return `${lines.join('\n')}\n`;
}

function status({ status, attempts, durationMs, dueAt }: TraceRow): string {
  const tries = attempts > 1 ? `, ${attempts} attempts` : '';
  const due = dueAt === undefined ? '' : ` (due ${stamp(dueAt)})`;
  const took = durationMs === undefined ? '' : ` in ${span(durationMs)}`;
  const colour = status === 'done' ? 'green' : status === 'dead-lettered' ? 'red' : 'yellow';
  return paint(colour, `${status}${took}${tries}${due}`);
}
