import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../system/until.ts';
import { BrokerLedger, type Kind, kinds } from './broker-ledger.ts';
import { BrokerVictim } from './broker-victim.ts';
import { Seeded } from './seeded.ts';

export interface BrokerChaosOptions {
  readonly seed: string;
  readonly rounds: number;
  /** Where the broker keeps its data. It is left there. */
  readonly folder: string;
  readonly tell: (text: string) => void;
  /** Kills the broker and ends the run. */
  readonly signal: AbortSignal;
}

export interface BrokerChaosReport {
  readonly rounds: number;
  /** Kills in the middle of a start. */
  readonly starting: number;
  readonly published: number;
  readonly unanswered: number;
  /** By subscription. */
  readonly delivered: Readonly<Record<Kind, number>>;
  readonly seconds: number;
  readonly problems: readonly string[];
}

const topic = 'projects/chaos/topics/news';
const subscriptionOf = (kind: Kind) => `projects/chaos/subscriptions/${kind}`;
const publishers = 3;
/** What is leased when the broker dies comes again after its deadline, where a lease outlasts the broker. */
const drainMs = 45_000;

/**
 * Publishes to one broker and consumes from it, kills it with SIGKILL again and again, and looks whether every publish that
 * was answered arrives on every subscription, in order where there is one, and once where that was promised.
 */
export async function runBrokerChaos(options: BrokerChaosOptions): Promise<BrokerChaosReport> {
  const { seed, rounds, folder, tell, signal } = options;
  const startedAt = performance.now();
  const random = new Seeded(seed, 'broker');
  const ledger = new BrokerLedger();
  let starting = 0;
  let played = 0;
  const launch = () => new BrokerVictim(folder);
  let broker = launch();
  signal.addEventListener('abort', () => void broker.kill());
  try {
    await provision(await addressOf(broker));
    for (; played < rounds && ledger.problems.length === 0; played++) {
      signal.throwIfAborted();
      const address = await addressOf(broker);
      const over = new AbortController();
      const load = [
        ...Array.from({ length: publishers }, (_, index) =>
          publish(address, `${played % 2}-${index}`, ledger, random, over.signal),
        ),
        ...kinds.flatMap((kind) => [
          consume(address, kind, ledger, over.signal),
          consume(address, kind, ledger, over.signal),
        ]),
      ];
      const ms = random.between(50, 900);
      await pause(ms);
      await broker.kill();
      over.abort();
      await Promise.all(load);
      tell(`round ${played + 1}: killed ${ms} ms after its start; ${ledger.answered} publishes answered so far`);
      broker = launch();
      if (random.between(1, 4) > 1) continue;
      // Once more, while it reads what the last one left.
      await pause(random.between(50, 400));
      await broker.kill();
      starting++;
      broker = launch();
    }
    const address = await addressOf(broker);
    const over = new AbortController();
    const load = kinds.map((kind) => consume(address, kind, ledger, over.signal));
    await until('all that was published', () => ledger.problems.length > 0 || ledger.isComplete(), drainMs).catch(
      () => {
        ledger.complain(`not seen within ${drainMs / 1000} s: ${ledger.missing()}`);
      },
    );
    over.abort();
    await Promise.all(load);
  } finally {
    await broker.kill();
  }
  const { problems, answered: published, unanswered, delivered } = ledger;
  const seconds = (performance.now() - startedAt) / 1000;
  return { rounds: played, starting, published, unanswered, delivered, seconds, problems };
}

export function brokerTableOf(report: BrokerChaosReport): string {
  const { rounds, starting, published, unanswered, delivered, seconds } = report;
  const counts = Object.entries(delivered).map(([kind, count]) => `${kind} ${count}`);
  return [
    `rounds     ${rounds}, and ${starting} kills in the middle of a start`,
    `published  ${published} messages answered, ${unanswered} not`,
    `delivered  ${counts.join(', ')}`,
    `seconds    ${seconds.toFixed(1)}`,
  ].join('\n');
}

/** The start of its paths. */
async function addressOf(broker: BrokerVictim): Promise<string> {
  return `http://${await broker.address()}/v1`;
}

async function provision(address: string): Promise<void> {
  await ask(`${address}/${topic}`, 'PUT', {});
  const policies = {
    plain: {},
    ordered: { enableMessageOrdering: true },
    once: { enableExactlyOnceDelivery: true },
  } satisfies Record<Kind, object>;
  for (const kind of kinds) await ask(`${address}/${subscriptionOf(kind)}`, 'PUT', { topic, ...policies[kind] });
}

/** One after the other, each in a key of its own, until the broker is gone. */
async function publish(
  address: string,
  key: string,
  ledger: BrokerLedger,
  random: Seeded,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const texts = ledger.next(key, random.between(1, 8));
    const messages = texts.map((text) => ({ data: btoa(text), orderingKey: key }));
    try {
      const { messageIds } = (await ask(`${address}/${topic}:publish`, 'POST', { messages })) as {
        messageIds: string[];
      };
      ledger.answer(texts, messageIds);
    } catch (error) {
      if (!isGone(error)) ledger.complain(`publish: ${(error as Error).message}`);
      return;
    }
  }
}

interface Received {
  readonly ackId: string;
  readonly message: { readonly messageId: string; readonly data: string; readonly orderingKey: string };
}

async function consume(address: string, kind: Kind, ledger: BrokerLedger, signal: AbortSignal): Promise<void> {
  const subscription = `${address}/${subscriptionOf(kind)}`;
  while (!signal.aborted) {
    try {
      const pulled = await ask(`${subscription}:pull`, 'POST', { maxMessages: 20 }, signal);
      const { receivedMessages = [] } = pulled as { receivedMessages?: Received[] };
      if (receivedMessages.length === 0) continue;
      for (const { message } of receivedMessages) ledger.receive(kind, message.messageId, atob(message.data));
      await ask(`${subscription}:acknowledge`, 'POST', { ackIds: receivedMessages.map(({ ackId }) => ackId) });
      for (const { message } of receivedMessages) ledger.acked(kind, message.messageId);
    } catch (error) {
      // A lease that ran out under load is refused by name; its message comes again.
      if (error instanceof Refused && error.reason === 'EXACTLY_ONCE_ACKID_FAILURE') continue;
      if (!isGone(error)) ledger.complain(`${kind}: ${(error as Error).message}`);
      return;
    }
  }
}

class Refused extends Error {
  readonly reason: string | undefined;

  constructor(status: number, body: { readonly error?: { message?: string; details?: { reason?: string }[] } }) {
    super(`${status}: ${body.error?.message}`);
    this.reason = body.error?.details?.[0]?.reason;
  }
}

/** Nobody answered, or not to the end. */
const isGone = (error: unknown) => !(error instanceof Refused);

async function ask(url: string, method: string, body: object, signal?: AbortSignal): Promise<unknown> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body), signal: signal ?? null });
  const answer = (await response.json()) as { error?: { message?: string } };
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}
