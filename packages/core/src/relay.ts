import type { Message } from './envelope.ts';
import { causeOf } from './failure.ts';
import type { Logger } from './logger.ts';
import type { Ref, StateStore, Unsent, UnsentQuery } from './state-store.ts';
import { workflowOf } from './workflow.ts';

/** What a relay publishes by: the client of Pub/Sub, or a broker in the same process. */
export interface Publisher {
  /** Resolves when the messages are durable in the topic, in their order. */
  publish(topic: string, messages: readonly Omit<Message, 'topic'>[]): Promise<unknown>;
}

/** Source: the limits of google.pubsub.v1 Publish, with room for what JSON puts around a message. */
const mostMessages = 1_000;
const mostBytes = 7_000_000;
/** Of one drain: each page passes over all that is stuck, so that it costs more the more that is. */
const mostStuck = 2_000;

interface Sending {
  readonly unsent: Unsent;
  /** Whether it is published. */
  readonly published: (published: boolean) => void;
}

/** What is on its way. */
interface Leaving {
  readonly published: Promise<boolean>;
  /** Whether it is published, and cleared. */
  readonly left: Promise<boolean>;
  readonly end: (left: boolean) => void;
}

/**
 * Publishes what was committed, for a store that is apart from its broker, and clears it when that is confirmed.
 *
 * Invariants: what is about one workflow appears in a topic for the first time in the order of its commits. The older
 * messages of a workflow come with the newer ones, so whoever commits next brings what a crash left, first; within a topic and
 * ordering key one request follows the other, and what waits behind one that failed is not sent. One relay sends nothing twice while it is under
 * way; two of them may: that dies in the inboxes.
 */
export class Relay {
  readonly #store: StateStore;
  readonly #publisher: Publisher;
  readonly #log: Logger;
  /** By id: what is under way, until it is cleared. */
  readonly #underWay = new Map<string, Leaving>();
  /** By topic and ordering key, since a request may have but one key: what waits while a request is under way. */
  readonly #waiting = new Map<string, Sending[]>();
  /** Published, and to be cleared with the next request, while one is under way. */
  readonly #uncleared: string[] = [];
  #isClearing = false;

  constructor(store: StateStore, publisher: Publisher, log: Logger) {
    this.#store = store;
    this.#publisher = publisher;
    this.#log = log;
  }

  /**
   * Never rejects: what cannot leave now is committed, and leaves with the next commit of its workflow or the next sweep.
   * @returns whether all of it left
   */
  async send(unsent: readonly Unsent[]): Promise<boolean> {
    return (await this.#leaving(unsent)).every(Boolean);
  }

  /**
   * Sends what a workflow has left, or by the query any has. What cannot leave now is passed over, with all that comes behind it in
   * its topic and ordering key: it holds up nothing else, until 2,000 messages are stuck.
   * @returns the topics of what is stuck; none where nothing is left
   */
  async drain(query: UnsentQuery): Promise<string[]> {
    const stuck: string[] = [];
    const lanes = new Set<string>();
    const topics = new Set<string>();
    while (stuck.length < mostStuck) {
      const unsent = await this.#store.unsent({ ...query, except: stuck });
      if (unsent.length === 0) break;
      const free = unsent.filter((each) => !lanes.has(laneOf(each)));
      const left = await this.#leaving(free);
      const gone = new Set(free.filter((_, index) => left[index]));
      for (const each of unsent) {
        if (gone.has(each)) continue;
        stuck.push(each.id);
        lanes.add(laneOf(each));
        topics.add(each.message.topic);
      }
    }
    return [...topics];
  }

  /** Whether each has left. Cleared with one request when the last of them is published, so all topics of a unit share it. */
  async #leaving(unsent: readonly Unsent[]): Promise<boolean[]> {
    const own = unsent.filter(({ id }) => !this.#underWay.has(id));
    const all = unsent.map(({ id }) => id);
    for (const each of own) this.#begin(each);
    const left = all.map((id) => this.#underWay.get(id)!.left);
    await this.#published(own.map(({ id }) => id));
    return Promise.all(left);
  }

  #begin(unsent: Unsent): void {
    const { promise, resolve: published } = Promise.withResolvers<boolean>();
    const { promise: left, resolve: end } = Promise.withResolvers<boolean>();
    this.#underWay.set(unsent.id, { published: promise, left, end });
    const { topic } = unsent.message;
    const lane = laneOf(unsent);
    const waiting = this.#waiting.get(lane);
    if (waiting) waiting.push({ unsent, published });
    else {
      this.#waiting.set(lane, [{ unsent, published }]);
      // In a moment, when the rest of its unit waits with it.
      queueMicrotask(() => void this.#publish(topic, lane));
    }
  }

  /** Has those of them cleared that were published, when that is known of all. */
  async #published(ids: readonly string[]): Promise<void> {
    const isPublished = await Promise.all(ids.map((id) => this.#underWay.get(id)!.published));
    this.#uncleared.push(...ids.filter((_, index) => isPublished[index]));
    if (!this.#isClearing) void this.#clear();
  }

  async #publish(topic: string, lane: string): Promise<void> {
    for (let waiting = this.#waiting.get(lane)!; waiting.length > 0; ) {
      const batch = waiting.splice(0, batchLength(waiting));
      try {
        await this.#publisher.publish(
          topic,
          batch.map(({ unsent: { message } }) => withoutTopic(message)),
        );
        for (const { published } of batch) published(true);
      } catch (error) {
        const messages = batch.length + waiting.length;
        this.#log.warn('relay.failed', { topic, messages, cause: causeOf(error) });
        const stuck = [...batch, ...waiting.splice(0)];
        // At once: whoever comes next with what is younger takes these with it again, before it.
        this.#end(
          stuck.map(({ unsent }) => unsent.id),
          false,
        );
        for (const { published } of stuck) published(false);
      }
    }
    this.#waiting.delete(lane);
  }

  /** One request after the other: what is published meanwhile, of whatever workflow, shares the next. */
  async #clear(): Promise<void> {
    this.#isClearing = true;
    for (let ids = this.#uncleared.splice(0); ids.length > 0; ids = this.#uncleared.splice(0)) {
      try {
        await this.#store.sent(ids);
        this.#end(ids, true);
      } catch (error) {
        // They are published, and will be once more.
        this.#log.warn('relay.uncleared', { messages: ids.length, cause: causeOf(error) });
        this.#end(ids, false);
      }
    }
    this.#isClearing = false;
  }

  #end(ids: readonly string[], left: boolean): void {
    for (const id of ids) {
      const leaving = this.#underWay.get(id)!;
      this.#underWay.delete(id);
      leaving.end(left);
    }
  }
}

/** By what messages are kept in order among each other: the workflow that they are about. */
export function orderOf({ attributes }: Pick<Message, 'attributes'>): Ref | undefined {
  return workflowOf(attributes['ce-subject'] ?? '');
}

/** One request holds messages of one topic and ordering key. */
function laneOf({ message: { topic, orderingKey = '' } }: Unsent): string {
  return `${topic} ${orderingKey}`;
}

function withoutTopic({ topic: _, ...message }: Message): Omit<Message, 'topic'> {
  return message;
}

/** How many fit one request, at least one. */
function batchLength(waiting: readonly Sending[]): number {
  let bytes = 0;
  for (const [index, { unsent }] of waiting.entries()) {
    const { data, attributes } = unsent.message;
    bytes += data.length + JSON.stringify(attributes).length;
    if (index === mostMessages || (index > 0 && bytes > mostBytes)) return index;
  }
  return waiting.length;
}
