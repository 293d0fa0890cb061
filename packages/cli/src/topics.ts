import type { TopicStatus } from '@dormouse/console';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { table } from './paint.ts';
import { consoleOptions } from './settings.ts';

export const topics: Command = {
  summary: 'The topics of a running system, who listens, and how much waits there.',
  usage: '[options]',
  maxArguments: 0,
  options: consoleOptions,
  async run(_positionals, options) {
    const client = await ConsoleClient.connect(options);
    const answer = await client.get<{ topics: TopicStatus[] }>('/api/topics');
    if (options.json) process.stdout.write(`${JSON.stringify(answer)}\n`);
    else {
      const rows = answer.topics.flatMap(({ name, subscriptions }) => {
        if (subscriptions.length === 0) return [[name, '(nobody listens)', '']];
        return subscriptions.map((each, index) => [
          index === 0 ? name : '',
          each.name,
          `${each.backlog ?? 'unknown'}${each.undeclared ? ', not declared any more' : each.paused ? ', paused' : ''}`,
        ]);
      });
      process.stdout.write(`${table([['TOPIC', 'SUBSCRIPTION', 'WAITING'], ...rows])}\n`);
    }
    return 0;
  },
};
