import type { TopicStatus } from '@dormouse/console';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { table } from './paint.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const subscriptions: Command = {
  summary:
    'Who reads what, and how much waits there; pause or resume one; move or forget one that is not declared any more.',
  usage: '[pause NAME | resume NAME | move NAME NEW-NAME | forget NAME] [options]',
  maxArguments: 3,
  options: consoleOptions,
  async run([action, name, to], options) {
    const client = await ConsoleClient.connect(options);
    if (action === undefined) return list(client, options.json === true);
    const done = Object.hasOwn(actions, action) ? actions[action as keyof typeof actions] : undefined;
    if (!done) {
      throw new UsageError(
        `subscriptions: "${action}" is no action; use pause NAME, resume NAME, move NAME NEW-NAME or forget NAME`,
      );
    }
    const names = action === 'move' ? [name, to] : [name];
    if (names.includes(undefined)) {
      const needed = action === 'move' ? 'NAME and a NEW-NAME' : 'NAME';
      throw new UsageError(`subscriptions ${action} needs a ${needed}; \`dormouse subscriptions\` lists them`);
    }
    const path = [name, action, ...(action === 'move' ? [to] : [])].map((part) => encodeURIComponent(part!)).join('/');
    const { status, body } = await client.post(`/api/subscriptions/${path}`, '');
    if (status !== 200) throw new UsageError(String(body.detail));
    process.stdout.write(options.json ? `${JSON.stringify(body)}\n` : `${name} ${done(Number(body.messages), to)}\n`);
    return 0;
  },
};

const actions = {
  pause: () => 'is paused: its messages wait, until it is resumed',
  resume: () => 'is resumed',
  move: (messages: number, to: string | undefined) => `is gone; ${messages} messages went to ${to}`,
  forget: (messages: number) => `is gone, and ${messages} messages with it`,
} as const;

async function list(client: ConsoleClient, json: boolean): Promise<number> {
  const { topics } = await client.get<{ topics: TopicStatus[] }>('/api/topics');
  const all = topics.flatMap((topic) => topic.subscriptions.map((each) => ({ ...each, topic: topic.name })));
  if (json) process.stdout.write(`${JSON.stringify({ subscriptions: all })}\n`);
  else {
    const rows = all.map(({ name, topic, backlog, paused, undeclared }) => [
      name,
      topic,
      String(backlog),
      undeclared ? 'not declared any more' : paused ? 'paused' : '',
    ]);
    process.stdout.write(`${table([['SUBSCRIPTION', 'TOPIC', 'WAITING', 'STATE'], ...rows])}\n`);
  }
  return 0;
}
