// Real: SQLite for the store, the broker's log in a file of its own, the endpoint with its handlers.
import { Broker, Database, messagesIn } from '@dormouse/broker';
import {
  ConflictError,
  command,
  createEndpoint,
  type Delivery,
  deliveryOf,
  type EndpointPorts,
  type Handler,
  on,
  Relay,
  runCommand,
  type StateStore,
  service,
  topic,
  type UnitOfWork,
  workflow,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { LocalStores } from './local-stores.ts';
import { ManualClock } from './manual-clock.ts';
import { SeededRandom } from './seeded-random.ts';
import { servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';
import { until } from './until.ts';

const asked = topic('thing.asked', { schema: z.object({ n: z.number() }) });
const told = topic('thing.told', { schema: z.object({ n: z.number() }) });
const noted = topic('thing.noted', { schema: z.object({ n: z.number() }) });
const thing = workflow<{ n: number }>({ idPrefix: 'WF' });
const wf = 'workflows/WF-1';

/** A store, a broker apart from it, and what goes between them. */
class Bench implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly stores = LocalStores.inMemory({ clock: this.clock, apart: true });
  readonly log: string[] = [];
  /** How many messages each request brought. */
  readonly requests: number[] = [];
  /** Answers whether the broker refuses a request. */
  refuses: (topic: string, messages: readonly unknown[]) => boolean = () => false;
  /** What the answer to a request waits for. */
  waits: (topic: string) => Promise<void> = async () => {};
  readonly #database = new Database(':memory:');
  readonly #broker = new Broker(this.#database, this.clock, { tidies: false });
  readonly relay: Relay;

  private constructor() {
    const log = { info() {}, error() {}, warn: (moment: string) => void this.log.push(moment) };
    const publish = async (to: string, messages: Parameters<Broker['publish']>[1]) => {
      this.requests.push(messages.length);
      if (this.refuses(to, messages)) throw new Error('UNAVAILABLE');
      await this.waits(to);
      return this.#broker.publish(`projects/test/topics/${to}`, messages);
    };
    this.relay = new Relay(this.stores.store, { publish }, log);
  }

  static async open(): Promise<Bench> {
    const bench = new Bench();
    for (const { name } of [asked, told, noted]) {
      await bench.#broker.createTopic({ name: `projects/test/topics/${name}` });
    }
    return bench;
  }

  ports(store: StateStore): EndpointPorts {
    return { ...servicePorts(store, this.clock), random: new SeededRandom(1), relay: this.relay };
  }

  endpoint(handler: Handler<{ n: number }>, { store = this.stores.store }: { readonly store?: StateStore } = {}) {
    return createEndpoint(service('taker', [on(asked, handler)]), this.ports(store));
  }

  /** What reached the broker's log, oldest first: topic and number. */
  arrived(): string[] {
    return Array.from(messagesIn(this.#database), ({ message: { attributes, data } }) => {
      const { n } = JSON.parse(Buffer.from(data, 'base64').toString());
      return `${attributes['ce-type']} ${n}`;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
    this.#broker.close();
    await this.#database.close();
  }
}

function event(n: number): Delivery {
  const message = testEvent({ id: `E${n}`, type: asked.name, subject: wf, data: { n } });
  return deliveryOf('taker.thing.asked', { ...message, messageId: String(n), publishTime: '2026-01-01T00:00:00Z' });
}

const passOn: Handler<{ n: number }> = async ({ data }, step) => {
  step.publish(told, data);
  step.publish(noted, data);
};

test('what a step publishes has arrived when its delivery is answered, and is left nowhere', async () => {
  await using bench = await Bench.open();
  await bench.endpoint(passOn).deliver(event(1));
  expect(bench.arrived()).toEqual(['thing.told 1', 'thing.noted 1']);
  expect(await bench.stores.store.unsent({})).toEqual([]);
});

test('a broker that is out fails no delivery; the next commit of the workflow brings the older messages first', async () => {
  await using bench = await Bench.open();
  const { deliver } = bench.endpoint(passOn);
  bench.refuses = (to) => to === told.name;
  await deliver(event(1));
  await deliver(event(2));
  expect(bench.arrived()).toEqual(['thing.noted 1', 'thing.noted 2']);
  bench.refuses = () => false;
  await deliver(event(3));
  expect(bench.arrived().filter((each) => each.startsWith(told.name))).toEqual([1, 2, 3].map((n) => `thing.told ${n}`));
  expect(await bench.stores.store.unsent({})).toEqual([]);
});

test('what was committed by a process that died before it could publish, its delivery’s repeat publishes', async () => {
  await using bench = await Bench.open();
  const { store } = bench.stores;
  const deaf: StateStore = Object.assign(Object.create(store) as StateStore, {
    async commit(unit: UnitOfWork) {
      await store.commit(unit);
      throw new Error('killed');
    },
    get: (refs: readonly string[]) => store.get(refs),
  });
  await expect(bench.endpoint(passOn, { store: deaf }).deliver(event(1))).rejects.toThrow('killed');
  expect(bench.arrived()).toEqual([]);
  await bench.endpoint(passOn).deliver(event(1));
  expect(bench.arrived()).toEqual(['thing.told 1', 'thing.noted 1']);
});

test('what a request committed before its process died, the same request sent again publishes', async () => {
  await using bench = await Bench.open();
  const { store } = bench.stores;
  const make = command<{ n: number }, null>({
    name: 'make',
    route: 'POST /api/things',
    creates: true,
    parse: ({ body }) => ({ n: Number(body) }),
    subject: () => ({ ref: wf }),
    async run({ n }, step) {
      (await step.workflow(thing)).create({ n });
      step.publish(told, { n });
      return null;
    },
  });
  const request = { headers: new Headers({ 'idempotency-key': 'k1' }), body: '7', params: {} };
  const actor = { name: 'anna', role: 'client', tenant: 'acme' } as const;
  const post = (relay: Pick<Relay, 'send' | 'drain'>) =>
    runCommand(make, request, actor, 'test', { ...bench.ports(store), relay });
  const dying = { drain: bench.relay.drain, send: async () => Promise.reject(new Error('killed')) };
  await expect(post(dying)).rejects.toThrow('killed');
  expect(bench.arrived()).toEqual([]);
  await post(bench.relay);
  expect(bench.arrived()).toEqual(['thing.told 7']);
});

test('2,500 messages leave in requests of a thousand, in their order; behind one that is refused nothing leaves', async () => {
  await using bench = await Bench.open();
  const { store } = bench.stores;
  const publish = Array.from({ length: 2_500 }, (_, n) => ({ ...event(n).message, topic: asked.name }));
  await store.commit({ tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish });
  bench.refuses = () => bench.requests.length === 2;
  const all = await store.unsent({ limit: 2_500 });
  expect(await bench.relay.send(all)).toBe(false);
  expect(bench.requests).toEqual([1_000, 1_000]);
  expect(bench.log).toEqual(['relay.failed']);
  expect(await bench.relay.drain({})).toEqual([]);
  expect(bench.arrived()).toEqual(Array.from({ length: 2_500 }, (_, n) => `thing.asked ${n}`));
});

test('what a topic refuses holds up no other, and of it nothing leaves out of turn', async () => {
  await using bench = await Bench.open();
  const { store } = bench.stores;
  const publish = [
    ...Array.from({ length: 1_200 }, (_, n) => ({ ...event(n).message, topic: noted.name })),
    { ...event(7).message, topic: asked.name },
  ];
  await store.commit({ tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish });
  // The first request only: what comes behind it must wait all the same.
  bench.refuses = (to) => to === noted.name && bench.requests.length === 1;
  expect(await bench.relay.drain({})).toEqual([noted.name]);
  expect(bench.arrived()).toEqual(['thing.asked 7']);
  expect(await store.unsent({ limit: 2_000 })).toHaveLength(1_200);
  expect(await bench.relay.drain({})).toEqual([]);
  expect(bench.arrived()).toHaveLength(1_201);
});

test('nothing overtakes what a topic has refused, also while another topic of its unit does not answer', async () => {
  await using bench = await Bench.open();
  const { deliver } = bench.endpoint(passOn);
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  bench.refuses = (to) => to === told.name;
  bench.waits = (to) => (to === noted.name ? answered : Promise.resolve());
  const first = deliver(event(1));
  await until('the first is refused', () => bench.log.includes('relay.failed'));
  bench.refuses = () => false;
  const second = deliver(event(2));
  await until('the second has come', () => bench.arrived().includes('thing.told 2'));
  expect(bench.arrived()).toEqual(['thing.told 1', 'thing.told 2']);
  answer();
  await Promise.all([first, second]);
  expect(await bench.stores.store.unsent({})).toEqual([]);
});

test('what all topics of a unit took is cleared with one request', async () => {
  await using bench = await Bench.open();
  const cleared: (readonly string[])[] = [];
  const { store } = bench.stores;
  const sent = store.sent.bind(store);
  store.sent = (ids) => {
    cleared.push(ids);
    return sent(ids);
  };
  await bench.endpoint(passOn).deliver(event(1));
  expect(cleared).toEqual([[expect.any(String), expect.any(String)]]);
});

test('a hundred steps of one workflow at once publish each message once', async () => {
  await using bench = await Bench.open();
  const { deliver } = bench.endpoint(passOn);
  await Promise.all(Array.from({ length: 100 }, (_, n) => deliver(event(n))));
  expect(bench.arrived()).toHaveLength(200);
  expect(new Set(bench.arrived()).size).toBe(200);
  expect(await bench.stores.store.unsent({})).toEqual([]);
});

test('a request holds messages of one workflow only: the wire takes but one ordering key', async () => {
  await using bench = await Bench.open();
  const unsent = ['WF-1', 'WF-2', 'WF-1'].map((id, n) => {
    const orderingKey = `workflows/${id}`;
    return { id: String(n), message: { ...event(n).message, topic: asked.name, orderingKey } };
  });
  expect(await bench.relay.send(unsent)).toBe(true);
  expect(bench.requests).toEqual([2, 1]);
});

test('messages of large data leave in requests that the wire takes', async () => {
  await using bench = await Bench.open();
  const large = Buffer.from(JSON.stringify({ n: 1, text: 'x'.repeat(2_000_000) })).toString('base64');
  const publish = Array.from({ length: 5 }, (_, n) => ({ ...event(n).message, topic: asked.name, data: large }));
  await bench.stores.store.commit({ tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish });
  expect(await bench.relay.drain({})).toEqual([]);
  expect(bench.requests).toEqual([2, 2, 1]);
});

test('where only the head of a log has moved the unit is committed again, and the handler does not run again', async () => {
  await using bench = await Bench.open();
  const { store } = bench.stores;
  const write = { ref: wf, data: { n: 0 } };
  await store.commit({ tenant: 'default', reads: [], writes: [write], entries: [], journal: [], publish: [] });
  let tries = 0;
  const contended: StateStore = Object.assign(Object.create(store) as StateStore, {
    async commit(unit: UnitOfWork) {
      if (++tries <= 20) throw new ConflictError([], [wf]);
      return store.commit(unit);
    },
    get: (refs: readonly string[]) => store.get(refs),
  });
  let runs = 0;
  const handler: Handler<{ n: number }> = async ({ data }, step) => {
    runs++;
    (await step.workflow(thing)).update({ n: data.n });
  };
  await bench.endpoint(handler, { store: contended }).deliver(event(7));
  expect([runs, tries]).toEqual([1, 21]);
  expect((await store.get([wf]))[0]!.data).toEqual({ n: 7 });
});
