import {
  createEndpoint,
  type Delivery,
  deadLetter,
  type EndpointPorts,
  firing,
  type Handler,
  type Message,
  on,
  type Ref,
  type SubscriptionOptions,
  service,
  type Timer,
  type Topic,
  timersOf,
  workflow,
} from '@dormouse/core';
import { LocalStores } from './local-stores.ts';
import { ManualClock } from './manual-clock.ts';
import { servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';
import { asked, taker, told } from './thing.ts';

export const thing = workflow<{ n: number; seen?: number }>({ idPrefix: 'WF' });

/** The workflow that is there, and that events are about. */
export const wf = 'workflows/WF-1';

/** A service of one handler over a real store, what is delivered to it by hand, and time too. */
export class EndpointBench implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly stores = LocalStores.inMemory({ clock: this.clock });
  readonly ports: EndpointPorts;
  readonly fetch: (request: Request) => Promise<Response>;
  readonly #deliver: (delivery: Delivery) => Promise<void>;
  #messages = 0;

  private constructor(handler: Handler<{ n: number }>, options: SubscriptionOptions) {
    this.ports = servicePorts(this.stores.store, this.clock);
    const authenticate = async (token: string | undefined) => {
      if (token !== 'good') throw new Error('bad token');
    };
    const { deliver, fetch } = createEndpoint(service('taker', [on(asked, handler, options)]), {
      ...this.ports,
      authenticate,
    });
    this.#deliver = deliver;
    this.fetch = fetch;
  }

  static async with(handler: Handler<{ n: number }>, options: SubscriptionOptions = {}): Promise<EndpointBench> {
    const bench = new EndpointBench(handler, options);
    for (const { name } of [asked, told, deadLetter]) {
      await bench.stores.broker.createTopic({ name: `projects/test/topics/${name}` });
      await bench.stores.broker.createSubscription({
        name: `projects/test/subscriptions/reader.${name}`,
        topic: `projects/test/topics/${name}`,
      });
    }
    await bench.write(wf, { n: 0 });
    return bench;
  }

  deliver(message: Message): Promise<void> {
    const messageId = String(++this.#messages);
    return this.#deliver({ subscription: taker, message, messageId, publishTime: '2026-01-01T00:00:00Z' });
  }

  /** What has been published to a topic, oldest first, with its ordering key. */
  published(to: Pick<Topic, 'name'>): Message[] {
    const subscription = this.stores.broker.subscription(`projects/test/subscriptions/reader.${to.name}`);
    return this.stores.broker.deliveries
      .lease(subscription, 100)
      .map(({ message: { attributes, data, orderingKey } }) => ({
        topic: to.name,
        attributes,
        data,
        ...(orderingKey && { orderingKey }),
      }));
  }

  async read(ref: Ref): Promise<Record<string, unknown> | null> {
    return (await this.stores.store.get([ref]))[0]!.data;
  }

  /** As another would, behind the handler's back. */
  async write(ref: Ref, data: Record<string, unknown>, tenant = 'default'): Promise<void> {
    const writes = [{ ref, data }];
    await this.stores.store.commit({ tenant, reads: [], writes, entries: [], journal: [], publish: [] });
  }

  timers(): Promise<Timer[]> {
    return timersOf(this.stores.store, wf);
  }

  /** The first that is due. */
  async fireDue(): Promise<void> {
    const [due] = await this.stores.store.due(this.clock.now(), 1);
    await this.stores.store.commit(firing(due!));
  }

  async deadLetters() {
    return (await this.stores.store.find({ collection: 'dead-letters' })).documents;
  }

  entries() {
    return Array.fromAsync(this.stores.store.log({ workflow: wf }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
  }
}

/** That a thing is asked for. */
export function event(
  id: string,
  data: unknown = { n: 1 },
  more: { readonly dataschema?: string; readonly tenant?: string; readonly subject?: string } = {},
): Message {
  return testEvent({ id, type: asked.name, subject: wf, data, ...more });
}
