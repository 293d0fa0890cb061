import { type Broker, type Database, messagesIn } from '@dormouse/broker';
import { type Delivery, decodeMarks, type Entry, type Message, type Unsent } from '@dormouse/core';
import type { LoadedSystem } from './loaded-system.ts';
import { topicName } from './simulated-host.ts';
import type { Facts } from './simulation.ts';
import type { Witness } from './witness.ts';

/** A message in the broker's log. */
export interface OnTheWire {
  readonly topic: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly orderingKey: string | undefined;
}

/** What a built-in invariant looks at: what the witness saw, what the broker has, what the store has. */
export interface History extends Facts {
  readonly system: LoadedSystem;
  readonly witness: Witness;
  readonly database: Database;
  readonly broker: Broker;
  readonly brokerDatabase: Database;
  /** What is left in the outbox. */
  readonly unsent: readonly Unsent[];
  /** In the order in which it was published. */
  readonly wire: readonly OnTheWire[];
  /** By `timer generation`: of timers that were set, why it must not be heard of any more; undefined where it may. */
  readonly timers: ReadonlyMap<string, SetTimer>;
}

export interface SetTimer {
  readonly workflow: string;
  readonly name: string;
  readonly generation: string;
  readonly dueAt: number;
  /** Index in the log of the entry that cancelled it or set it anew. */
  readonly endedAt: number | undefined;
}

export function historyOf(inside: Omit<History, 'wire' | 'timers'>): History {
  return { ...inside, wire: wireOf(inside.brokerDatabase, inside.system), timers: timersIn(inside.log) };
}

function wireOf(database: Database, { manifest }: LoadedSystem): OnTheWire[] {
  const names = new Map(manifest.topics.map(({ name }) => [topicName(name), name]));
  const rows = database.prepare('SELECT id, name FROM topic').all();
  const byId = new Map(rows.map(({ id, name }) => [id as number, names.get(name as string)!]));
  return Array.from(messagesIn(database), ({ topicId, message: { attributes, orderingKey } }) => ({
    topic: byId.get(topicId)!,
    attributes,
    orderingKey,
  }));
}

function timersIn(log: readonly Entry[]): Map<string, SetTimer> {
  const all = new Map<string, SetTimer>();
  const current = new Map<string, string>();
  const end = (name: string, index: number) => {
    const generation = current.get(name);
    current.delete(name);
    if (generation !== undefined) all.set(generation, { ...all.get(generation)!, endedAt: index });
  };
  for (const [index, line] of log.entries()) {
    if (line.kind !== 'log') continue;
    const { chain, cancelledTimers, published } = line.entry;
    const workflow = chain.split('/').slice(0, 2).join('/');
    for (const name of cancelledTimers) end(`${workflow} ${name}`, index);
    for (const { id, timer, dueAt } of published) {
      if (timer === undefined) continue;
      end(`${workflow} ${timer}`, index);
      current.set(`${workflow} ${timer}`, id);
      all.set(id, { workflow, name: timer, generation: id, dueAt: dueAt!, endedAt: undefined });
    }
  }
  return all;
}

/** One event for one subscription, whatever its attempts. */
export function deliveryKey(subscription: string, attributes: Readonly<Record<string, string>>): string {
  return [subscription, attributes['ce-tenant'], attributes['ce-source'], attributes['ce-id']].join(' ');
}

export function keyOfDelivery({ subscription, message }: Delivery): string {
  return deliveryKey(subscription, message.attributes);
}

/** What tells a message from others, however often it is published: the event, and which attempt of whom it is for. */
export function identityOf({ topic, attributes }: Pick<OnTheWire, 'topic' | 'attributes'>): string {
  const { 'ce-source': source, 'ce-id': id, 'dormouse-to': to, 'dormouse-attempt': attempt } = attributes;
  return [topic, source, id, to, attempt].join(' ');
}

/** Subscriptions with handlers of ours that must take a message. */
export function takersOf({ manifest }: LoadedSystem, { topic, attributes }: OnTheWire): string[] {
  const { to } = decodeMarks(attributes);
  return manifest.services.flatMap(({ subscriptions }) =>
    subscriptions
      .filter((each) => each.dormouse && each.topic === topic && (to === undefined || to === each.name))
      .map(({ name }) => name),
  );
}

/** A line about a message, for readers. */
export function about({ topic, attributes }: Pick<Message, 'topic' | 'attributes'>): string {
  const { to, attempt } = decodeMarks(attributes);
  const subject = attributes['ce-subject'] ? ` about ${attributes['ce-subject']}` : '';
  return `"${topic}" ${attributes['ce-id']}${subject}${to ? ` to ${to}, attempt ${attempt}` : ''}`;
}
