import {
  createEndpoint,
  type DeadLetter,
  type Delivery,
  deadLetter,
  deliveryOf,
  type Endpoint,
  type EndpointPorts,
  type Envelope,
  firing,
  type Handler,
  type Message,
  on,
  rawFilter,
  type StateStore,
  type SubscriptionOptions,
  service,
  type Topic,
  topic,
  workflow,
} from '@dormouse/core';
import * as z from 'zod';
import { LocalStores } from './local-stores.ts';
import { ManualClock } from './manual-clock.ts';
import { servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';
import { asked, taker, told } from './thing.ts';

const deskAsked = topic('desk.asked', {
  schema: z.object({ do: z.enum(['redrive', 'discard']), deadLetter: z.string() }),
});
/** What the handlers of these tests keep: the events in the order in which they took effect. */
export const diary = workflow<{ seen: number[] }>({ idPrefix: 'WF' });

const desk = 'desk.desk.asked';
const archivist = 'archivist.dead.letter';

/** What becomes of a commit: done; not done, and nobody answers; done, and nobody answers. */
export type CommitFate = 'well' | 'lost' | 'unanswered';

/**
 * One handler behind a real broker and a real store in memory, its time moved by hand. Pushes are as Pub/Sub's: several at a
 * time, of an ordering key one, nacked where nothing was committed.
 */
export class WiredService implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly stores = LocalStores.inMemory({ clock: this.clock });
  /** Asked before each commit of an endpoint. */
  fate: () => CommitFate | Promise<CommitFate> = () => 'well';
  /** Asked whether the wire brings what was acked once more. */
  repeats: () => boolean = () => false;
  readonly ports: EndpointPorts;
  /** What `dead.letter` brought to its handler, oldest first. */
  readonly announced: Envelope[] = [];
  readonly #endpoints: ReadonlyMap<string, Endpoint>;
  #published = 0;

  private constructor(handler: Handler<{ n: number }>, options: SubscriptionOptions) {
    this.ports = servicePorts(this.#store(), this.clock);
    const office = on(deskAsked, ({ data }, step) =>
      data.do === 'redrive' ? step.redrive(data.deadLetter) : step.discard(data.deadLetter, 'for the test'),
    );
    const archive = on(deadLetter, async (event) => void this.announced.push(event));
    this.#endpoints = new Map([
      [taker, createEndpoint(service('taker', [on(asked, handler, options)]), this.ports)],
      [desk, createEndpoint(service('desk', [office]), this.ports)],
      [archivist, createEndpoint(service('archivist', [archive]), this.ports)],
    ]);
  }

  /** @param wireAttempts after how many deliveries the wire gives up. Default: never */
  static async with(
    handler: Handler<{ n: number }>,
    options: SubscriptionOptions = {},
    wireAttempts?: number,
  ): Promise<WiredService> {
    const wired = new WiredService(handler, options);
    const { broker } = wired.stores;
    for (const { name } of [asked, told, deskAsked, deadLetter]) {
      await broker.createTopic({ name: `projects/test/topics/${name}` });
    }
    for (const [name, of] of [
      [taker, asked],
      [desk, deskAsked],
      [archivist, deadLetter],
    ] as const) {
      await broker.createSubscription({
        name: `projects/test/subscriptions/${name}`,
        topic: `projects/test/topics/${of.name}`,
        filter: `NOT attributes:dormouse-to OR attributes.dormouse-to = "${name}" OR ${name === archivist ? rawFilter : 'attributes:none'}`,
        enableMessageOrdering: name === taker && options.order !== undefined,
        ...(name === taker && wireAttempts !== undefined && { deadLetterPolicy: net(wireAttempts) }),
      });
    }
    return wired;
  }

  /** As a commit would publish them, oldest first, about a workflow that is made where it is not there. */
  async publish(numbers: readonly number[], about = 'WF-1', tenant = 'default'): Promise<void> {
    await this.make(about, tenant);
    for (const n of numbers) await this.send(this.message(n, about, tenant));
  }

  async make(id: string, tenant = 'default'): Promise<void> {
    const ref = `workflows/${id}`;
    const [found] = await this.stores.store.get([ref]);
    if (found!.data) return;
    const writes = [{ ref, data: { seen: [] } }];
    await this.stores.store.commit({ tenant, reads: [], writes, entries: [], journal: [], publish: [] });
  }

  message(n: number, about = 'WF-1', tenant = 'default', of: Topic<never> | typeof asked = asked): Message {
    const subject = `workflows/${about}`;
    return testEvent({ id: `E${n}`, type: of.name, subject, time: this.clock.now(), tenant, data: { n } });
  }

  async send(message: Message): Promise<void> {
    await this.stores.broker.publish(`projects/test/topics/${message.topic}`, [message]);
  }

  /** Until nothing moves by itself any more. */
  async settle(): Promise<void> {
    for (let moved = true; moved; ) {
      moved = false;
      const { store } = this.stores;
      for (const due of await store.due(this.clock.now(), 100)) {
        await store.commit(firing(due));
        moved = true;
      }
      for (const [name, endpoint] of this.#endpoints) {
        const subscription = this.stores.broker.subscription(`projects/test/subscriptions/${name}`);
        const leases = this.stores.broker.deliveries.lease(subscription, 10);
        if (leases.length > 0) moved = true;
        await Promise.all(leases.map(({ message }) => this.#push(subscription, endpoint, message)));
      }
    }
  }

  /** To each moment at which something is due, in turn. */
  async advance(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    await this.settle();
    for (let next = this.stores.store.nextDueAt(); next !== undefined && next <= until; ) {
      this.clock.advance(Math.max(0, next - this.clock.now()));
      await this.settle();
      next = this.stores.store.nextDueAt();
    }
    this.clock.advance(Math.max(0, until - this.clock.now()));
  }

  /** A delivery as the wire may bring it at any time. */
  deliver(message: Message): Promise<void> {
    const name = `projects/test/subscriptions/${taker}`;
    const delivery: Delivery = deliveryOf(name, { ...message, messageId: 'again', publishTime: '' });
    return this.#endpoints.get(taker)!.deliver(delivery);
  }

  /** Numbers of the events that took effect, in order. */
  async seen(id = 'WF-1'): Promise<readonly number[]> {
    const [found] = await this.stores.store.get([`workflows/${id}`]);
    return (found!.data?.seen ?? []) as number[];
  }

  async deadLetters(): Promise<DeadLetter[]> {
    const { documents } = await this.stores.store.find({ collection: 'dead-letters', limit: 500 });
    return documents.map(({ data }) => data as unknown as DeadLetter).toReversed();
  }

  async ask(what: 'redrive' | 'discard', deadLetter: string): Promise<void> {
    const message = this.message(0);
    const data = Buffer.from(JSON.stringify({ do: what, deadLetter })).toString('base64');
    const attributes = {
      ...message.attributes,
      'ce-id': `ask-${++this.#published}`,
      'ce-type': deskAsked.name,
      'ce-dataschema': `${deskAsked.name}/1`,
    };
    await this.send({ ...message, topic: deskAsked.name, attributes, data });
    await this.settle();
  }

  async #push(
    subscription: Parameters<LocalStores['broker']['deliveries']['ack']>[0],
    endpoint: Endpoint,
    message: Parameters<typeof deliveryOf>[1] & { readonly position: number },
  ): Promise<void> {
    const { deliveries } = this.stores.broker;
    const delivery = deliveryOf(subscription.config.name, message);
    try {
      await endpoint.deliver(delivery);
      if (this.repeats()) await endpoint.deliver(delivery).catch(() => {});
      deliveries.ack(subscription, message.position);
    } catch {
      await deliveries.nack(subscription, [message.position]);
    }
  }

  #store(): StateStore {
    const { store } = this.stores;
    return {
      get: (refs) => store.get(refs),
      find: (query) => store.find(query),
      log: (query) => store.log(query),
      due: (now, limit, except) => store.due(now, limit, except),
      unsent: (query) => store.unsent(query),
      sent: (ids) => store.sent(ids),
      commit: async (unit) => {
        const fate = await this.fate();
        if (fate === 'lost') throw new Error('the instance was killed');
        const committed = await store.commit(unit);
        if (fate === 'unanswered') throw new Error('the instance was killed');
        return committed;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
  }
}

function net(maxDeliveryAttempts: number) {
  return { deadLetterTopic: `projects/test/topics/${deadLetter.name}`, maxDeliveryAttempts };
}
