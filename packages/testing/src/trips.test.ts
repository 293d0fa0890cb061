// Real: Google's Firestore emulator and a broker over REST, each behind a proxy that counts; the endpoint with its handlers.
import {
  collection,
  commitUnit,
  createEndpoint,
  deliveryOf,
  Foresight,
  type Handler,
  on,
  PubsubClient,
  Relay,
  service,
  systemClock,
  systemRandom,
  topic,
  type UnitOfWork,
  workflow,
} from '@dormouse/core';
import { GoogleRest, pubsubOver } from '@dormouse/gcp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as z from 'zod';
import { BrokerServer } from './broker-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import { googleStore } from './google/google-store.ts';
import { Trips } from './google/trips.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { SeededRandom } from './seeded-random.ts';
import { testEvent } from './test-event.ts';

const schema = z.object({ n: z.number() });
const asked = topic('thing.asked', { schema });
const news = topic('news', { schema });
const dead = topic('dead.letter', { schema });
const thing = workflow<{ n: number }>({ idPrefix: 'WF' });
const parts = collection<{ n: number }>('parts-of-it');
const contacts = collection<{ n: number }>('contacts', { personal: true });

/** What a delivery asks of Google at the least: nothing of it can be left out, nor done together with the rest. */
const least = {
  'read: a delivery begins': 1,
  'commit: a delivery': 1,
  publish: 1,
  'commit: clears the outbox': 1,
};

let emulator: Emulator;

/** A process that takes deliveries; another one on the same documents, where a project is given. */
async function processOf(handler: Handler<{ n: number }>, server: BrokerServer, project?: string) {
  const trips = new Trips();
  const answered = trips.answered.bind(trips);
  const ofStore = await FaultProxy.start(() => emulator.address, answered);
  const ofBroker = await FaultProxy.start(`127.0.0.1:${server.port}`, answered);
  const store = googleStore(ofStore.address, systemClock, project);
  const rest = new GoogleRest({ url: ofBroker.url, clock: systemClock, random: systemRandom });
  const relay = new Relay(store, new PubsubClient(pubsubOver(rest), 'test'), { info() {}, warn() {}, error() {} });
  const { deliver } = createEndpoint(service('things', [on(asked, handler)]), {
    system: 'test',
    store,
    blobs: { put: async () => {}, get: async () => new Uint8Array(), removeAll: async () => 0 },
    clock: systemClock,
    random: systemRandom,
    relay,
    foresight: new Foresight(),
    log: { info() {}, warn() {}, error() {} },
    authenticate: async () => {},
  });
  return {
    store,
    relay,
    faults: ofStore.faults,
    take: () => trips.take(),
    deliver: (id: string, subject: string) =>
      deliver(
        deliveryOf('projects/test/subscriptions/things.thing.asked', {
          ...testEvent({ id, type: asked.name, subject, data: { n: 1 } }),
          messageId: id,
          publishTime: new Date().toISOString(),
        }),
      ),
    async [Symbol.asyncDispose]() {
      rest.close();
      await store[Symbol.asyncDispose]();
      for (const each of [ofStore, ofBroker]) await each[Symbol.asyncDispose]();
    },
  };
}

async function brokerWithTopics(): Promise<BrokerServer> {
  const server = await BrokerServer.open();
  const rest = new GoogleRest({ url: `http://127.0.0.1:${server.port}`, clock: systemClock, random: systemRandom });
  const pubsub = new PubsubClient(pubsubOver(rest), 'test');
  for (const { name } of [news, dead]) await pubsub.createTopic(name);
  rest.close();
  return server;
}

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Round trips', found.missing, test.skip);
else {
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  const counts: Handler<{ n: number }> = async ({ data }, step) => {
    const found = await step.workflow(thing);
    if (found.exists) found.update({ n: found.data.n + 1 });
    else found.create({ n: 1 });
    step.publish(news, data);
  };

  test('a step that reads its workflow, writes it and publishes is one read, one commit, one publish and one clear', async () => {
    await using server = await brokerWithTopics();
    await using first = await processOf(counts, server);
    for (const id of ['E1', 'E2']) {
      await first.deliver(id, 'workflows/WF-1');
      expect(first.take()).toEqual(least);
    }
    // Also in a process that knows nothing, and in one that knows how it was before others went on.
    await using other = await processOf(counts, server, first.store.project);
    await other.deliver('E3', 'workflows/WF-1');
    expect(other.take()).toEqual(least);
    await first.deliver('E4', 'workflows/WF-1');
    expect(first.take()).toEqual(least);
  });

  test('so is one about a document below its workflow, that reads that alone', async () => {
    await using server = await brokerWithTopics();
    const own: Handler<{ n: number }> = async ({ data }, step) => {
      (await step.document(parts, 'P1')).create({ n: data.n });
      step.publish(news, data);
    };
    await using google = await processOf(own, server);
    await google.deliver('E1', 'workflows/WF-1/parts-of-it/P1');
    expect(google.take()).toEqual(least);
  });

  test('each topic is a publish, and all of them one clear', async () => {
    await using server = await brokerWithTopics();
    const both: Handler<{ n: number }> = async ({ data }, step) => {
      for (const each of [news, dead, news]) step.publish(each, data);
    };
    await using google = await processOf(both, server);
    await google.deliver('E1', 'workflows/WF-1');
    expect(google.take()).toEqual({ ...least, publish: 2 });
  });

  test('a step that publishes nothing clears nothing, and one that is settled is read', async () => {
    await using server = await brokerWithTopics();
    await using google = await processOf(async (_event, step) => void (await step.workflow(thing)), server);
    await google.deliver('E1', 'workflows/WF-1');
    const { 'read: a delivery begins': read, 'commit: a delivery': commit } = least;
    expect(google.take()).toEqual({ 'read: a delivery begins': read, 'commit: a delivery': commit });
  });

  test('what a handler asked for comes with the first read of the next delivery, whatever workflow that is about', async () => {
    await using server = await brokerWithTopics();
    const asks: Handler<{ n: number }> = async ({ data }, step) => {
      const part = await step.document(parts, step.attempt === 1 ? 'P1' : 'P2');
      await step.documents(parts, ['P2', 'P3']);
      await step.document(contacts, 'client');
      await step.run('sum', data.n, async (n) => n + 1);
      for (const name of ['one', 'two']) await step.cancelTimer(name);
      if (!part.exists) part.create({ n: 1 });
      step.publish(news, data, { after: '30d', timer: 'three' });
    };
    await using google = await processOf(asks, server);
    const { publish: _, 'commit: clears the outbox': __, ...settles } = least;
    const once = { ...settles, 'commit: an activity': 1 };
    await google.deliver('E1', 'workflows/WF-1');
    expect(google.take()).toEqual({ ...once, 'read: documents': 3, 'read: activities': 1, 'read: timers': 1 });
    for (const id of ['2', '3']) {
      await google.deliver(`E${id}`, `workflows/WF-${id}`);
      expect(google.take()).toEqual(once);
    }
  });

  test('what another process clears while a step runs is neither in its way nor read again', async () => {
    await using server = await brokerWithTopics();
    await using first = await processOf(counts, server);
    const { unsent } = await first.store.commit(publishing('a'));
    const cleared: Handler<{ n: number }> = async (event, step) => {
      await first.store.sent(unsent.map(({ id }) => id));
      await counts(event, step);
    };
    await using other = await processOf(cleared, server, first.store.project);
    await other.deliver('E1', wf);
    expect(other.take()).toEqual(least);
  });

  test('what a process left that died is read once, leaves before the step’s own, and is cleared with it', async () => {
    await using server = await brokerWithTopics();
    await using first = await processOf(counts, server);
    await first.store.commit(publishing('a'));
    await using other = await processOf(counts, server, first.store.project);
    await other.deliver('E1', wf);
    expect(other.take()).toEqual({ ...least, 'read: outbox': 1 });
    await other.deliver('E2', wf);
    expect(other.take()).toEqual(least);
  });

  /** Nobody goes on before so many have come. */
  const barrier = (parties: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    return () => {
      if (--parties === 0) resolve();
      return promise;
    };
  };

  test('of two steps in one process that read the same, the second is not refused, and runs again on one read', async () => {
    await using server = await brokerWithTopics();
    const bothHaveRead = barrier(2);
    const meets: Handler<{ n: number }> = async (event, step) => {
      await step.workflow(thing);
      await bothHaveRead();
      await counts(event, step);
    };
    await using google = await processOf(meets, server);
    await Promise.all(['E1', 'E2'].map((id) => google.deliver(id, wf)));
    const { publish: _, 'commit: clears the outbox': __, ...asked } = google.take();
    expect((await google.store.get([wf]))[0]!.data).toEqual({ n: 2 });
    expect(asked).toEqual({ 'read: a delivery begins': 3, 'commit: a delivery': 2 });
  });

  test('of sixteen that meet in one process each runs twice at most, and none is put off or refused', async () => {
    await using server = await brokerWithTopics();
    const allHaveRead = barrier(16);
    let runs = 0;
    const meets: Handler<{ n: number }> = async (event, step) => {
      runs++;
      await step.workflow(thing);
      await allHaveRead();
      await counts(event, step);
    };
    await using google = await processOf(meets, server);
    await Promise.all(Array.from({ length: 16 }, (_, n) => google.deliver(`E${n}`, wf)));
    const { publish: _, 'commit: clears the outbox': __, ...asked } = google.take();
    expect(asked).toEqual({ 'read: a delivery begins': 16 + 15, 'commit: a delivery': 16 });
    expect(runs).toBe(16 + 15);
    expect((await google.store.get([wf]))[0]!.data).toEqual({ n: 16 });
  });

  test('after a conflict a handler sees no document older than another, also of what was read ahead', async () => {
    await using server = await brokerWithTopics();
    const seen: unknown[] = [];
    let moves = async () => {};
    const looks: Handler<{ n: number }> = async (_event, step) => {
      const found = await step.workflow(thing);
      await moves();
      if (found.data.n > 1) seen.push((await step.document(parts, 'P1')).data.n);
      found.update({ n: found.data.n });
    };
    await using first = await processOf(looks, server);
    await using other = await processOf(counts, server, first.store.project);
    const write = async (n: number) => {
      const refs = [wf, `${wf}/parts-of-it/P1`];
      const reads = await other.store.get(refs);
      await other.store.commit({ ...publishing(), reads, writes: refs.map((ref) => ({ ref, data: { n } })) });
    };
    await write(2);
    await first.deliver('E1', wf);
    await write(1);
    moves = async () => {
      moves = async () => {};
      await write(3);
    };
    await first.deliver('E2', wf);
    expect(seen).toEqual([2, 3]);
  });

  test('what is asked for after an activity is as it is then, though it was read ahead', async () => {
    await using server = await brokerWithTopics();
    const seen: unknown[] = [];
    let outside = async () => {};
    const looks: Handler<{ n: number }> = async (_event, step) => {
      await step.run('outside', {}, () => outside());
      seen.push((await step.document(parts, 'P1')).data.n);
    };
    await using google = await processOf(looks, server);
    const write = async (n: number) => {
      const ref = `${wf}/parts-of-it/P1`;
      const reads = await google.store.get([ref]);
      await google.store.commit({ ...publishing(), reads, writes: [{ ref, data: { n } }] });
    };
    await write(1);
    await google.deliver('E1', wf);
    outside = () => write(2);
    await google.deliver('E2', wf);
    expect(seen).toEqual([1, 2]);
  });

  test('a guess that no store takes is not asked for', async () => {
    await using server = await brokerWithTopics();
    const odd: Handler<{ n: number }> = async (_event, step) => void (await step.document(parts, '_a_'));
    await using google = await processOf(odd, server);
    await google.deliver('E1', `${wf}/parts-of-it/a`);
    await google.deliver('E2', `${wf}/parts-of-it/_x_`);
    await google.deliver('E3', `${wf}/parts-of-it/\ud800`);
    const { documents } = await google.store.find({ collection: 'dead-letters' });
    // Of what is no text at all there can be no chain.
    expect(documents.map(({ data }) => data!.code)).toEqual(['document.ref']);
  });

  test('of two in two processes the second is refused, and told how all stands in one request', async () => {
    await using server = await brokerWithTopics();
    const bothHaveRead = barrier(2);
    const meets: Handler<{ n: number }> = async (_event, step) => {
      const found = await step.workflow(thing);
      await step.document(parts, 'P1');
      await bothHaveRead();
      if (found.exists) found.update({ n: found.data.n + 1 });
      else found.create({ n: 1 });
    };
    await using first = await processOf(meets, server);
    await using other = await processOf(meets, server, first.store.project);
    await Promise.all([first.deliver('E1', wf), other.deliver('E2', wf)]);
    const told = [first.take(), other.take()];
    const once = { 'read: a delivery begins': 1, 'read: documents': 1, 'commit: a delivery': 1 };
    expect(told).toContainEqual(once);
    expect(told).toContainEqual({ ...once, 'refused commit: a delivery': 1, 'read: what has moved': 1 });
    expect((await first.store.get([wf]))[0]!.data).toEqual({ n: 2 });
  });

  test('a timer that is set anew without being read takes its place, with one request more than a new one', async () => {
    await using server = await brokerWithTopics();
    await using first = await processOf(counts, server);
    const set = (n: number) => ({
      ...publishing(),
      writes: [{ ref: 'timers/WF-1/named/t', data: { n, message: { topic: 'news' } }, dueAt: n }],
    });
    await first.store.commit(set(1));
    await using other = await processOf(counts, server, first.store.project);
    await other.store.commit(set(2));
    expect(other.take()).toEqual({
      'refused commit: a timer fires': 1,
      'read: what has moved': 1,
      'commit: a timer fires': 1,
    });
    expect((await first.store.get(['timers/WF-1/named/t']))[0]!.data).toMatchObject({ n: 2 });
    const foreign = { ...set(3), tenant: 'another' };
    await expect(other.store.commit(foreign)).rejects.toMatchObject({ code: 'document.exists' });
  });

  test('how many are left is what is there, whoever commits and clears at once and whatever answers are lost', async () => {
    await using server = await brokerWithTopics();
    await using first = await processOf(counts, server);
    const { project } = first.store;
    await using second = await processOf(counts, server, project);
    await using third = await processOf(counts, server, project);
    const processes = [first, second, third];
    const random = new SeededRandom(Number(process.env.TRIPS_SEED ?? 1));
    let published = 0;
    const of = <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)]!;
    const committed: string[] = [];
    const sent = new Set<string>();
    const idsThere = async () => {
      const query = { collection: 'outbox', orderBy: [{ field: '__name__' }], limit: 500, select: [] };
      return (await first.store.firestore.query(query)).map(({ path }) => path.slice('outbox/'.length));
    };
    for (let round = 0; round < 25; round++) {
      const before = await idsThere();
      const acts = processes.map(({ store, faults }) => async () => {
        if (random.fraction() < 0.15)
          faults.order({ on: ({ path }) => path.endsWith(':commit'), mishap: 'answer lost' });
        if (committed.length === 0 || random.fraction() < 0.5) {
          const units = await commitUnit({ store }, publishing(`${published++}`));
          const told = units.unsent.map(({ id }) => id);
          // All that was there and that nobody has sent meanwhile, in its order.
          expect(told).toEqual(told.toSorted());
          expect(before.filter((id) => !told.includes(id) && !sent.has(id))).toEqual([]);
          committed.push(told.at(-1)!);
        } else {
          // Two at once may send the same.
          const some = [of(committed), of(committed), of(committed)];
          for (const id of some) sent.add(id);
          await store.sent([...new Set(some)]);
        }
      });
      await Promise.all(acts.map((act) => act()));
      const there = await idsThere();
      const [outbox] = await first.store.firestore.get(['outboxes/WF-1']);
      expect(outbox!.fields.left).toEqual({ integerValue: String(there.length) });
      expect(outbox!.fields.ids).toEqual({
        arrayValue: there.length === 0 ? {} : { values: there.map((id) => ({ stringValue: id })) },
      });
      expect(there.filter((id) => sent.has(id))).toEqual([]);
    }
    expect(new Set(committed).size).toBe(committed.length);
  });

  test('a store of an earlier form, whose heads list what is not sent, is gone on with', async () => {
    await using server = await brokerWithTopics();
    await using google = await processOf(counts, server);
    const { store } = google;
    await store.commit(publishing('a', 'b', 'c'));
    const ids = ['a', 'b', 'c'].map((_, index) => `WF-1.${String(index + 1).padStart(12, '0')}`);
    const [head] = await store.firestore.get(['heads/workflows%2FWF-1']);
    await store.firestore.commit([
      { kind: 'delete', path: 'outboxes/WF-1' },
      {
        kind: 'update',
        path: 'heads/workflows%2FWF-1',
        fields: { ...head!.fields, unsent: { arrayValue: { values: ids.map((id) => ({ stringValue: id })) } } },
      },
    ]);
    await using later = await processOf(counts, server, store.project);
    expect((await later.store.unsent({ workflow: wf })).map(({ id }) => id)).toEqual(ids);
    // By a sweep, before anybody commits.
    await later.store.sent([ids[0]!]);
    expect((await later.store.unsent({ workflow: wf })).map(({ id }) => id)).toEqual(ids.slice(1));
    const { unsent } = await later.store.commit(publishing('d'));
    // What a process of before has left that cleared late.
    await google.store.firestore.commit([
      {
        kind: 'update',
        path: 'heads/workflows%2FWF-1',
        mask: [],
        fields: {},
        transforms: [{ fieldPath: 'unsent', removeAllFromArray: { values: [] } }],
      },
    ]);
    expect((await later.store.unsent({ workflow: wf })).map(({ message }) => message.attributes.name)).toEqual([
      'b',
      'c',
      'd',
    ]);
    expect(unsent.map(({ message }) => message.attributes.name)).toEqual(['b', 'c', 'd']);
    await later.store.sent(unsent.map(({ id }) => id));
    later.take();
    await later.deliver('E1', wf);
    expect(later.take()).toEqual(least);
  });
}

const wf = 'workflows/WF-1';

function publishing(...names: readonly string[]): UnitOfWork {
  const publish = names.map((name) => ({
    topic: 'news',
    attributes: { 'ce-subject': wf, name },
    data: '',
    orderingKey: wf,
  }));
  return { tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish };
}
