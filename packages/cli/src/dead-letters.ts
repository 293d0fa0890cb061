import type { DeadLetter } from '@dormouse/core';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { stamp, table } from './paint.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const deadLetters: Command = {
  summary: 'Deliveries set aside after their last attempt: list, show, redrive, discard.',
  usage: '[list | show ID | redrive ID | discard ID REASON] [options]',
  maxArguments: 3,
  options: consoleOptions,
  async run([action = 'list', id, reason], options) {
    const client = await ConsoleClient.connect(options);
    if (action === 'list') return list(client, options.json === true);
    if (!['show', 'redrive', 'discard'].includes(action)) {
      throw new UsageError(
        `dead-letters: "${action}" is no action; use list, show ID, redrive ID or discard ID REASON`,
      );
    }
    if (!id)
      throw new UsageError(
        `dead-letters ${action} needs the ID of a dead letter; \`dormouse dead-letters\` lists them`,
      );
    const path = `/api/dead-letters/${encodeURIComponent(id)}`;
    const letter = await client.get<Shown>(path);
    if (action === 'show') {
      process.stdout.write(options.json ? `${JSON.stringify(letter)}\n` : show(letter));
      return 0;
    }
    if (action === 'discard' && !reason) throw new UsageError('dead-letters discard needs a reason, for the record');
    const { status, body } = await client.post(`${path}/${action}`, JSON.stringify({ reason }));
    if (status !== 201) throw new UsageError(String(body.detail));
    const done = action === 'redrive' ? `${id} goes back to ${letter.subscription}` : `${id} is discarded`;
    process.stdout.write(options.json ? `${JSON.stringify(body)}\n` : `${done}\n`);
    return 0;
  },
};

async function list(client: ConsoleClient, json: boolean): Promise<number> {
  const found = await client.all<Shown>('/api/dead-letters', 'deadLetters');
  if (json) process.stdout.write(`${JSON.stringify({ deadLetters: found })}\n`);
  else if (found.length === 0) process.stdout.write('no dead letters\n');
  else {
    const rows = found.map(({ id, state, subscription, attempts, held = 0, at, cause }) => {
      return [id, state, subscription, String(attempts), String(held), stamp(at), cause.slice(0, 80)];
    });
    process.stdout.write(
      `${table([['DEAD LETTER', 'STATE', 'SUBSCRIPTION', 'ATTEMPTS', 'HOLDS', 'DIED', 'CAUSE'], ...rows])}\n`,
    );
  }
  return 0;
}

/** With how many events of its workflow wait behind it. */
type Shown = DeadLetter & { readonly held?: number };

function show({
  id,
  state,
  topic,
  subscription,
  workflow = '',
  attempts,
  at,
  code,
  cause,
  message,
  discarded,
  held = 0,
}: Shown): string {
  const rows = [
    ['dead letter', id],
    ['state', state],
    ['topic', topic],
    ['subscription', subscription],
    ['workflow', workflow],
    ['attempts', String(attempts)],
    ...(held > 0 ? [['holds', `${held} later events of its workflow, until it is redriven or discarded`]] : []),
    ['died', stamp(at)],
    ['code', code],
    ['cause', cause],
    ...(discarded ? [['discarded', `${stamp(discarded.at)}: ${discarded.reason}`]] : []),
    ['data', Buffer.from(message.data, 'base64').toString()],
  ];
  return `${table(rows)}\n`;
}
