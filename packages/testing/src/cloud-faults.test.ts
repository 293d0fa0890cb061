// Real: Google's Firestore emulator and a broker over REST, each behind a proxy that lets go wrong what is ordered; the endpoint with its handlers.
import { randomBytes } from 'node:crypto';
import {
  ConflictError,
  createEndpoint,
  deliveryOf,
  on,
  PubsubClient,
  Relay,
  type StateStore,
  service,
  systemClock,
  systemRandom,
  topic,
  type UnitOfWork,
  workflow,
} from '@dormouse/core';
import { Firestore, FirestoreStateStore, GoogleRest, pubsubOver } from '@dormouse/gcp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as z from 'zod';
import { BrokerServer } from './broker-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import { googleStore } from './google/google-store.ts';
import type { Fault, Mishap, SeenRequest } from './google/ordered-faults.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { SeededRandom } from './seeded-random.ts';
import { quiet, servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';
import { until } from './until.ts';

const wf = 'workflows/WF-1';
const asked = topic('thing.asked', { schema: z.object({ n: z.number() }) });
const news = topic('news', { schema: z.object({ n: z.number() }) });
const thing = workflow<{ n: number }>({ idPrefix: 'WF' });

const isCommit = ({ path }: SeenRequest) => path.endsWith(':commit');
const status = (code: number, name: string): Mishap => ({
  status: code,
  body: { error: { code, status: name, message: `ordered: ${name}` } },
});

let emulator: Emulator;

/** A store on Firestore and a broker over REST, with a proxy before each. */
async function open() {
  const ofStore = await FaultProxy.start(() => emulator.address);
  const server = await BrokerServer.open();
  const ofBroker = await FaultProxy.start(`127.0.0.1:${server.port}`);
  const store = googleStore(ofStore.address);
  const rest = new GoogleRest({ url: ofBroker.url, clock: systemClock, random: systemRandom });
  const pubsub = new PubsubClient(pubsubOver(rest), 'test');
  await pubsub.createTopic('news');
  await server.broker.createSubscription({
    name: 'projects/test/subscriptions/all',
    topic: 'projects/test/topics/news',
  });
  const relay = new Relay(store, pubsub, quiet);
  const runs: number[] = [];
  const endpoint = createEndpoint(
    service('things', [
      on(asked, async (event, step) => {
        runs.push(event.data.n);
        const found = await step.workflow(thing);
        if (found.exists) found.update({ n: found.data.n + 1 });
        else found.create({ n: 1 });
        step.publish(news, { n: event.data.n });
      }),
    ]),
    { ...servicePorts(store, systemClock), random: systemRandom, relay },
  );
  return {
    store,
    relay,
    runs,
    firestore: ofStore,
    pubsub: ofBroker,
    order: (fault: Fault) => ofStore.faults.order(fault),
    deliver: (id: string, subject = wf) => {
      const message = testEvent({ id, type: asked.name, subject, data: { n: 1 } });
      return endpoint.deliver(
        deliveryOf('projects/test/subscriptions/things.thing.asked', {
          ...message,
          messageId: id,
          publishTime: new Date().toISOString(),
        }),
      );
    },
    count: async () => (await store.get([wf]))[0]!.data?.n,
    /** The data of all that was published, each once, in its order. */
    async published(): Promise<unknown[]> {
      const seen = new Map<string, unknown>();
      const { receivedMessages = [] } = (await (
        await fetch(`http://127.0.0.1:${server.port}/v1/projects/test/subscriptions/all:pull`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ maxMessages: 1000, returnImmediately: true }),
        })
      ).json()) as { receivedMessages?: { message: { data?: string; attributes: Record<string, string> } }[] };
      for (const { message } of receivedMessages) {
        const name = message.attributes['ce-id'] ?? message.attributes.name!;
        seen.set(name, message.attributes.name ?? name);
      }
      return [...seen.values()];
    },
    async [Symbol.asyncDispose]() {
      rest.close();
      await store[Symbol.asyncDispose]();
      for (const each of [ofStore, ofBroker, server]) await each[Symbol.asyncDispose]();
    },
  };
}

function publishing(name: string, writes: UnitOfWork['writes'] = []): UnitOfWork {
  const publish = [{ topic: 'news', attributes: { 'ce-subject': wf, name }, data: '', orderingKey: wf }];
  return { tenant: 'default', reads: [], writes, entries: [], journal: [], publish };
}

async function entriesOf(store: StateStore): Promise<number> {
  let count = 0;
  for await (const { kind } of store.log({ workflow: wf })) if (kind === 'log') count++;
  return count;
}

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Faults of Firestore', found.missing, test.skip);
else {
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  const passing: readonly (readonly [string, Mishap])[] = [
    ['429', status(429, 'RESOURCE_EXHAUSTED')],
    ['503', status(503, 'UNAVAILABLE')],
    ['DEADLINE_EXCEEDED', status(504, 'DEADLINE_EXCEEDED')],
    ['ABORTED', status(409, 'ABORTED')],
    ['a connection that breaks', 'dropped'],
    ['an answer that is lost', 'answer lost'],
  ];
  test.each(passing)(
    'a step whose commit meets %s has its effects once, and its handler runs once',
    async (_, mishap) => {
      await using google = await open();
      await google.deliver('E1');
      const fault = google.order({ on: isCommit, mishap });
      await google.deliver('E2');
      expect(fault.struck).toBe(1);
      expect(google.runs).toHaveLength(2);
      expect(await google.count()).toBe(2);
      expect(await entriesOf(google.store)).toBe(2);
      expect(await google.published()).toHaveLength(2);
      expect(await google.store.unsent({})).toEqual([]);
      // What it remembers of the log is what is there.
      await google.deliver('E3');
      expect(await entriesOf(google.store)).toBe(3);
    },
  );

  test('also where the answer is lost, and after it the connection breaks three times', async () => {
    await using google = await open();
    google.order({ on: isCommit, mishap: 'answer lost' });
    google.order({ on: isCommit, mishap: 'dropped', times: 3 });
    await google.deliver('E1');
    expect([google.runs.length, await google.count(), await entriesOf(google.store)]).toEqual([1, 1, 1]);
  });

  test('a commit that happened and never was answered is found by the delivery that comes again, which sends what was left', async () => {
    await using google = await open();
    const lost = google.order({ on: isCommit, mishap: 'answer lost', times: Infinity });
    await expect(google.deliver('E1')).rejects.toMatchObject({ code: 'store.unavailable' });
    lost.takeBack();
    expect(await google.published()).toEqual([]);
    await google.deliver('E1');
    expect([google.runs.length, await google.count(), await entriesOf(google.store)]).toEqual([1, 1, 1]);
    expect(await google.published()).toHaveLength(1);
  });

  test('of two commits that meet one is refused, also where the answer of the first was lost', async () => {
    await using google = await open();
    const unit = (n: number): UnitOfWork => ({
      ...publishing(`${n}`, [{ ref: wf, data: { n } }]),
      reads: [{ ref: wf, version: null }],
    });
    google.order({ on: isCommit, mishap: 'answer lost' });
    await google.store.commit(unit(1));
    await expect(google.store.commit(unit(2))).rejects.toThrow(ConflictError);
    expect(await google.count()).toBe(1);
  });

  test('a unit that is committed is told as such, also where what its workflow has left cannot be read: then nothing leaves before that', async () => {
    await using google = await open();
    await using other = googleStore(emulator.address, systemClock, google.store.project);
    await other.commit(publishing('a'));
    const isLeftRead = ({ path, body }: SeenRequest) => path.endsWith(':batchGet') && `${body}`.includes('/outbox/');
    const outage = google.order({ on: isLeftRead, mishap: status(403, 'PERMISSION_DENIED'), times: Infinity });
    expect(await google.store.commit(publishing('b'))).toMatchObject({ unsent: [], hasMore: true });
    expect(outage.struck).toBe(1);
    outage.takeBack();
    const { unsent } = await google.store.commit(publishing('c'));
    expect(unsent.map(({ message }) => message.attributes.name)).toEqual(['a', 'b', 'c']);
  });

  test('a unit about two workflows is committed, also where the head of one is forgotten while that of the other is read', async () => {
    await using system = await open();
    await system.store.commit(publishing('before'));
    const reads = (workflow: string) => (request: SeenRequest) =>
      request.path.endsWith(':batchGet') && request.body.includes(`heads/workflows%2F${workflow}`);
    const other = system.order({ on: reads('WF-2'), delayMs: 500 });
    const own = system.order({ on: reads('WF-1'), delayMs: 1_000 });
    const [first] = publishing('first').publish;
    const second = { ...first!, attributes: { 'ce-subject': 'workflows/WF-2', name: 'second' } };
    const committed = system.store.commit({ ...publishing('first'), publish: [first!, second] });
    await until('the head of the other is asked for', () => other.struck === 1);
    const unsent = system.store.unsent({ workflow: wf });
    await until('the head of the first is asked for anew', () => own.struck === 1);
    expect((await committed).unsent.map(({ message }) => message.attributes.name)).toEqual([
      'before',
      'first',
      'second',
    ]);
    await unsent;
  });

  test('what is sent is cleared, also while Firestore gives up one of two commits that meet', async () => {
    await using google = await open();
    const { unsent } = await google.store.commit(publishing('a'));
    google.order({ on: isCommit, mishap: status(409, 'ABORTED'), times: 3 });
    expect(await google.relay.send(unsent)).toBe(true);
    expect(await google.store.unsent({})).toEqual([]);
  });

  test('a commit that Firestore gives up is tried again after waits that grow, and are not the same for all', async () => {
    await using proxy = await FaultProxy.start(() => emulator.address);
    const waits: number[] = [];
    const after = (ms: number, callback: () => void) => {
      waits.push(ms);
      return systemClock.after(0, callback);
    };
    const random = new SeededRandom();
    const rest = new GoogleRest({ url: proxy.url, token: async () => 'owner', clock: systemClock, random });
    const store = new FirestoreStateStore({
      firestore: new Firestore({ project: 'test-waits', rest }),
      clock: { ...systemClock, after },
      random,
      system: 'test',
      declares: () => true,
      audit: false,
    });
    proxy.faults.order({ on: isCommit, mishap: status(409, 'ABORTED'), times: 9 });
    await store.commit(publishing('a'));
    expect(await store.unsent({})).toHaveLength(1);
    rest.close();
    expect(waits).toHaveLength(9);
    for (const [n, ms] of waits.entries()) {
      const most = Math.min(1_000, 20 * 2 ** n);
      expect(ms).toBeGreaterThanOrEqual(most / 2);
      expect(ms).toBeLessThan(most);
    }
    expect(new Set(waits.slice(-3)).size).toBe(3);
  });

  test('of a unit that was refused nothing is removed with what is sent later under its numbers', async () => {
    await using google = await open();
    google.order({ on: isCommit, mishap: status(403, 'PERMISSION_DENIED') });
    const large = { ...publishing('a').publish[0]!, data: randomBytes(400_000).toString('base64') };
    const work = google.store.commit({ ...publishing('a'), publish: [large] });
    await expect(work).rejects.toMatchObject({ code: 'store.unavailable' });
    const { unsent } = await google.store.commit(publishing('b'));
    const bodies: string[] = [];
    google.order({ on: ({ body }) => bodies.push(`${body}`) < 0 });
    await google.store.sent(unsent.map(({ id }) => id));
    expect(bodies).toEqual([expect.stringContaining('/outbox/')]);
    expect(bodies[0]).not.toContain('/parts/');
  });

  test('what Firestore takes for malformed is a dead letter at once, and says why', async () => {
    await using google = await open();
    google.order({ on: isCommit, mishap: status(400, 'INVALID_ARGUMENT') });
    await google.deliver('E1');
    const { documents } = await google.store.find({ collection: 'dead-letters' });
    expect(documents.map(({ data }) => data)).toMatchObject([
      { code: 'store.refused', cause: expect.stringContaining('ordered: INVALID_ARGUMENT') },
    ]);
    expect(await google.count()).toBeUndefined();
  });

  test('what a proxy before Firestore refuses without a word of Google’s is no dead letter: the wire brings it again', async () => {
    await using google = await open();
    google.order({ on: isCommit, mishap: { status: 400, body: '<title>Bad Request</title>' } });
    await expect(google.deliver('E1')).rejects.toMatchObject({ code: 'store.unavailable' });
    await google.deliver('E1');
    expect(await google.count()).toBe(1);
    expect((await google.store.find({ collection: 'dead-letters' })).documents).toEqual([]);
  });

  test.each(['__reserved__', '..', 'é'.repeat(1_000)])(
    'an event about a workflow whose id Firestore does not keep (%#) is a dead letter at once',
    async (id) => {
      await using google = await open();
      await google.deliver('E1', `workflows/${id}`);
      const { documents } = await google.store.find({ collection: 'dead-letters' });
      expect(documents.map(({ data }) => data)).toMatchObject([{ code: 'document.ref' }]);
    },
  );

  test('a store that is out is told as such, nothing is done, and all is well when it is back', async () => {
    await using google = await open();
    const outage = google.order({ mishap: status(503, 'UNAVAILABLE'), times: Infinity });
    await expect(google.deliver('E1')).rejects.toMatchObject({ code: 'store.unavailable' });
    outage.takeBack();
    expect(google.runs).toEqual([]);
    await google.deliver('E1');
    expect(await google.count()).toBe(1);
  });

  test('an answer that ends early makes no document look absent', async () => {
    await using google = await open();
    await google.deliver('E1');
    const error = { code: 503, status: 'UNAVAILABLE', message: 'the stream broke' };
    const isRead = ({ path }: SeenRequest) => /:(batchGet|runQuery)$/.test(path);
    google.order({ on: isRead, mishap: { status: 200, body: [{ error }] }, times: 2 });
    const told = { code: 'store.unavailable', message: expect.stringContaining('the stream broke') };
    await expect(google.store.get([wf])).rejects.toMatchObject(told);
    await expect(google.store.due(systemClock.now(), 10)).rejects.toMatchObject(told);
    expect(await google.count()).toBe(1);
  });

  test('an answer that is late is waited for', async () => {
    await using google = await open();
    google.order({ on: isCommit, delayMs: 1_500 });
    await google.deliver('E1');
    expect([google.runs.length, await google.count()]).toEqual([1, 1]);
  });

  test('what was published for certain and not cleared, since Firestore did not answer, is published again and then cleared', async () => {
    await using google = await open();
    const { unsent } = await google.store.commit(publishing('a'));
    const outage = google.order({ on: isCommit, mishap: 'dropped', times: Infinity });
    expect(await google.relay.send(unsent)).toBe(false);
    outage.takeBack();
    expect(await google.relay.drain({ workflow: wf })).toEqual([]);
    expect(await google.published()).toEqual(['a']);
  });

  test('while publishing is refused messages wait, and then leave in the order of their commits', async () => {
    await using google = await open();
    const outage = google.pubsub.faults.order({ mishap: status(503, 'UNAVAILABLE'), times: Infinity });
    for (const name of ['a', 'b', 'c']) {
      const { unsent } = await google.store.commit(publishing(name));
      expect(await google.relay.send(unsent)).toBe(false);
    }
    expect(await google.published()).toEqual([]);
    outage.takeBack();
    const { unsent } = await google.store.commit(publishing('d'));
    expect(await google.relay.send(unsent)).toBe(true);
    expect(await google.published()).toEqual(['a', 'b', 'c', 'd']);
    expect(await google.store.unsent({})).toEqual([]);
  });

  test.each([
    ['429', status(429, 'RESOURCE_EXHAUSTED')],
    ['DEADLINE_EXCEEDED', status(504, 'DEADLINE_EXCEEDED')],
    ['ABORTED', status(409, 'ABORTED')],
    ['a lost answer', 'answer lost'],
  ] as const)('a publish that meets %s leaves with its step or with the next one', async (_, mishap) => {
    await using google = await open();
    google.pubsub.faults.order({ mishap });
    await google.deliver('E1');
    await google.deliver('E2');
    expect(await google.published()).toHaveLength(2);
    expect(await google.store.unsent({})).toEqual([]);
  });

  test('an emulator that starts again in the middle has forgotten everything, and the store goes on with it', async () => {
    using first = await Emulator.start(found);
    let address = first.address;
    await using proxy = await FaultProxy.start(() => address);
    await using store = googleStore(proxy.address);
    await store.commit(publishing('a'));
    first[Symbol.dispose]();
    await expect(store.commit(publishing('b'))).rejects.toMatchObject({ code: 'store.unavailable' });
    // One that knows nothing of it.
    address = emulator.address;
    // What it remembered of the heads is forgotten with the commit that failed.
    await store.commit(publishing('c'));
    expect((await store.unsent({})).map(({ message }) => message.attributes.name)).toEqual(['c']);
  }, 180_000);
}
