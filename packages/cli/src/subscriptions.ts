import type { TopicStatus } from '@dormouse/console';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { table } from './paint.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const subscriptions: Command = {
  summary: 'Who reads what, and how much waits there; pause or resume one.',
  usage: '[pause NAME | resume NAME] [options]',
  maxArguments: 2,
  options: consoleOptions,
  async run([action, name], options) {
    const client = await ConsoleClient.connect(options);
    if (action === undefined) return list(client, options.json === true);
    if (action !== 'pause' && action !== 'resume') {
      throw new UsageError(`subscriptions: "${action}" is no action; use pause NAME or resume NAME`);
    }
    if (!name) throw new UsageError(`subscriptions ${action} needs a NAME; \`dormouse subscriptions\` lists them`);
    const { status, body } = await client.post(`/api/subscriptions/${encodeURIComponent(name)}/${action}`, '');
    if (status !== 200) throw new UsageError(String(body.detail));
    const now = action === 'pause' ? 'paused: its messages wait, until it is resumed' : 'resumed';
    process.stdout.write(options.json ? `${JSON.stringify(body)}\n` : `${name} is ${now}\n`);
    return 0;
  },
};

async function list(client: ConsoleClient, json: boolean): Promise<number> {
  const { topics } = await client.get<{ topics: TopicStatus[] }>('/api/topics');
  const all = topics.flatMap((topic) => topic.subscriptions.map((each) => ({ ...each, topic: topic.name })));
  if (json) process.stdout.write(`${JSON.stringify({ subscriptions: all })}\n`);
  else {
    const rows = all.map(({ name, topic, backlog, paused }) => [name, topic, String(backlog), paused ? 'paused' : '']);
    process.stdout.write(`${table([['SUBSCRIPTION', 'TOPIC', 'WAITING', 'STATE'], ...rows])}\n`);
  }
  return 0;
}
