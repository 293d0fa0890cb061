import type { SubscriptionView } from '@dormouse/broker';
import type { TopicView } from '@dormouse/console';
import type { HeldBack } from '@dormouse/core';
import { BrokerClient } from './broker-client.ts';
import type { Command, Options } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { span, stamp, table } from './paint.ts';
import { brokerOptions, consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const subscriptions: Command = {
  summary:
    'Who reads what, and how much waits there; pause or resume one; move or forget one that is not declared any more.',
  usage: '[pause NAME | resume NAME | move NAME NEW-NAME | forget NAME] [options]',
  maxArguments: 3,
  options: {
    ...consoleOptions,
    port: { ...brokerOptions.port, description: 'of a `dormouse broker` (list, pause and resume)' },
  },
  async run([action, name, to], options) {
    if (options.port !== undefined) return ofBroker(action, name, options);
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

/** Of a broker alone, whose subscriptions nobody declares: there is nothing to move or to forget. */
async function ofBroker(action: string | undefined, name: string | undefined, options: Options): Promise<number> {
  const client = BrokerClient.of(options);
  const { subscriptions: all } = await client.get<{ subscriptions: SubscriptionView[] }>('subscriptions');
  if (action === undefined) {
    process.stdout.write(options.json ? `${JSON.stringify({ subscriptions: all })}\n` : `${viewsOf(all)}\n`);
    return 0;
  }
  if (action !== 'pause' && action !== 'resume') {
    throw new UsageError(`subscriptions: "${action}" is no action of a broker alone; use pause NAME or resume NAME`);
  }
  const [found, ...others] = all.filter((each) => each.name === name || each.name.endsWith(`/subscriptions/${name}`));
  if (!found) throw new UsageError(`there is no subscription "${name ?? ''}"; \`dormouse subscriptions\` lists them`);
  if (others.length > 0)
    throw new UsageError(`"${name}" is in several projects; use projects/PROJECT/subscriptions/${name}`);
  const view = await client.post<SubscriptionView>(`${found.name}:${action}`);
  process.stdout.write(options.json ? `${JSON.stringify(view)}\n` : `${found.name} ${actions[action]()}\n`);
  return 0;
}

function viewsOf(all: readonly SubscriptionView[]): string {
  const count = ({ messages, atLeast }: { messages: number; atLeast?: true }) => `${messages}${atLeast ? '+' : ''}`;
  const rows = all.map(({ name, state, backlog, leased, backingOff, attempts }) => [
    name,
    state,
    count(backlog),
    backlog.oldestAgeSeconds === undefined ? '' : span(backlog.oldestAgeSeconds * 1000),
    count(leased),
    count(backingOff),
    Object.entries(attempts)
      .map(([number, messages]) => `${number}×: ${messages}`)
      .join(', '),
  ]);
  const notes = all.flatMap(({ name, push, blockedKeys }) => [
    ...(push?.failure ? [`${name}: push fails: ${push.failure.reason}${until(push.pausedUntil)}`] : []),
    ...blockedKeys.map(
      (key) =>
        `${name}: ordering key "${key.orderingKey}" waits for message ${key.messageId}, ${key.because}${until(key.until)}`,
    ),
  ]);
  const head = ['SUBSCRIPTION', 'STATE', 'WAITING', 'OLDEST', 'LEASED', 'BACKING OFF', 'ATTEMPTS'];
  return [table([head, ...rows]), ...notes].join('\n');
}

function until(time: string | undefined): string {
  return time === undefined ? '' : ` until ${stamp(Date.parse(time))}`;
}

async function list(client: ConsoleClient, json: boolean): Promise<number> {
  const { topics } = await client.get<{ topics: TopicView[] }>('/api/topics');
  const all = topics.flatMap((topic) => topic.subscriptions.map((each) => ({ ...each, topic: topic.name })));
  if (json) process.stdout.write(`${JSON.stringify({ subscriptions: all })}\n`);
  else {
    const rows = all.map(({ name, topic, backlog, paused, undeclared, held }) => [
      name,
      topic,
      String(backlog ?? 'unknown'),
      held ? heldText(held) : '',
      undeclared ? 'not declared any more' : paused ? 'paused' : '',
    ]);
    process.stdout.write(`${table([['SUBSCRIPTION', 'TOPIC', 'WAITING', 'HELD', 'STATE'], ...rows])}\n`);
  }
  return 0;
}

function heldText({ keys, events }: HeldBack): string {
  return keys === 0 ? '0' : `${events} behind ${keys} ${keys === 1 ? 'workflow' : 'workflows'}`;
}
