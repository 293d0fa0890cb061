import { readFileSync } from 'node:fs';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { Host } from './host.ts';
import { untilInterrupted } from './interrupt.ts';
import { warningOf } from './log-line.ts';
import { paint, span } from './paint.ts';
import { dataFolder, hostOptions, hostOptionsOf } from './settings.ts';
import { finalStatuses, timelineOf } from './timeline.ts';

export const start: Command = {
  summary: 'Boots the whole system on this machine and stays up until Ctrl-C.',
  usage: '[SYSTEM-FILE] [options]',
  maxArguments: 1,
  options: {
    ...hostOptions,
    port: { type: 'string', value: 'N', description: 'port of the console (default: a free one)' },
    host: {
      type: 'string',
      value: 'HOST',
      description: 'where the console listens (default 127.0.0.1); beyond loopback everything needs a token',
    },
    names: {
      type: 'string',
      value: 'NAMES',
      description: 'more host names it answers to, with commas: of a proxy before it',
    },
    'no-sample': { type: 'boolean', description: 'do not open the sample case on a new data directory' },
  },
  async run([file], options) {
    const interrupted = untilInterrupted();
    const startedAt = performance.now();
    const host = await Host.start({
      ...hostOptionsOf(file, options),
      tell: (record) => {
        const warning = warningOf(record);
        if (warning !== undefined) process.stderr.write(`dormouse: ${warning}\n`);
      },
    });
    await present(host, dataFolder(options), startedAt, !options['no-sample'], interrupted);
    await interrupted;
    await host.stop();
    return 0;
  },
};

/** Says what runs and where; on a new data directory shows a sample first, until it is over or the system is. */
export async function present(
  host: Host,
  folder: string,
  startedAt: number,
  withSample: boolean,
  over: Promise<void>,
): Promise<void> {
  const say = (text: string) => process.stdout.write(`${text}\n`);
  say(`${paint('bold', `dormouse · ${host.manifest.system}`)} up in ${span(performance.now() - startedAt)}`);
  say(`  data      ${folder}`);
  const { sample } = host.manifest;
  if (host.isNew && sample && withSample) {
    const stopFollowing = new AbortController();
    void over.then(() => stopFollowing.abort());
    await openSample(host, sample, stopFollowing.signal);
  }
  say(`  console   ${host.url}`);
  if (host.manifest.sandbox) say(`  sandbox   ${host.url}/sandbox`);
  say(`  broker    http://127.0.0.1:${host.platform.brokerPort}`);
  say(`  token     ${host.token ?? 'the first one was revoked'}`);
  say('Ctrl-C stops it.');
}

/** Shows the system at work: the sample's journey, line by line, until it is over. */
async function openSample(host: Host, sample: { route: string; file: string }, signal: AbortSignal): Promise<void> {
  const client = new ConsoleClient(host.url, { token: host.token });
  const { status, body } = await client.post(sample.route.replace('POST ', ''), readFileSync(sample.file, 'utf8'));
  if (status !== 201) {
    process.stdout.write(`the sample ${sample.file} was refused: ${JSON.stringify(body)}\n`);
    return;
  }
  const id = String(body.workflowId);
  process.stdout.write(`\nsample ${paint('bold', id)}\n`);
  try {
    for await (const followed of client.follow(id, signal)) {
      if (followed.event === 'entry') for (const line of timelineOf(followed.data)) process.stdout.write(`  ${line}\n`);
      else if (finalStatuses.has(String(followed.data.status))) {
        process.stdout.write(`  ${paint('green', String(followed.data.status))} · npm run dormouse -- trace ${id}\n\n`);
        return;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
