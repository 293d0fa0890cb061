import type { Explanation, Fate } from '@dormouse/broker';
import { BrokerClient } from './broker-client.ts';
import type { Command } from './command-line.ts';
import { paint, stamp } from './paint.ts';
import { brokerOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const explain: Command = {
  summary: 'What became of a message of the broker, on every subscription of its topic, and why.',
  usage: 'MESSAGE_ID [options]',
  maxArguments: 1,
  options: brokerOptions,
  async run([messageId], options) {
    if (!messageId) throw new UsageError('explain needs the id of a message, as its publish answered it');
    const found = await BrokerClient.of(options).get<Explanation>(`messages/${encodeURIComponent(messageId)}`);
    if (options.json) {
      process.stdout.write(`${JSON.stringify(found)}\n`);
      return 0;
    }
    const { topic, publishTime, orderingKey, inLog, subscriptions } = found;
    const lines = [
      inLog
        ? `message ${messageId} of ${topic ?? 'a topic that was deleted'}, published ${stamp(Date.parse(publishTime!))}`
        : `message ${messageId}: all have settled it, and it was removed`,
      ...(orderingKey === undefined ? [] : [`  ordering key "${orderingKey}"`]),
      ...(subscriptions.length === 0 ? ['  nobody is subscribed'] : subscriptions.map(render)),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  },
};

function render({ subscription, state, because, attempts, at, until }: Fate): string {
  const colour = state === 'acked' || state === 'settled' ? 'green' : state === 'dead-lettered' ? 'red' : 'yellow';
  const facts = [
    at && `at ${stamp(Date.parse(at))}`,
    until && `until ${stamp(Date.parse(until))}`,
    attempts && `${attempts} ${attempts === 1 ? 'delivery' : 'deliveries'}`,
  ].filter(Boolean);
  return `  ${subscription}\n    ${paint(colour, state)}: ${because}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`;
}
