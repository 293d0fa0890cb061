// Real: Google's Firestore emulator, which removes nothing by its age: what the provisioned rules would have removed by now, the test does.
import {
  createEndpoint,
  type DeadLetter,
  deliveryOf,
  type Endpoint,
  firing,
  type Handler,
  type Message,
  on,
  PermanentError,
  service,
  systemRandom,
  topic,
} from '@dormouse/core';
import { firestoreIndexes } from '@dormouse/gcp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as z from 'zod';
import { type GoogleStore, googleStore } from './google/google-store.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { ManualClock } from './manual-clock.ts';
import { servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';

const news = topic('news', { schema: z.object({ n: z.number() }) });
const wf = 'workflows/WF-1';
const dayMs = 86_400_000;

/** Two services that take the same events, over a store in Firestore. Whatever they publish comes to both. */
class Bench implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly store: ReturnType<typeof googleStore>;
  readonly #endpoints = new Map<string, Endpoint>();
  #messages = 0;

  constructor(address: string, handlers: Readonly<Record<'ada' | 'bob', Handler<{ n: number }>>>) {
    this.store = googleStore(address, this.clock);
    for (const [name, handler] of Object.entries(handlers)) {
      const ports = { ...servicePorts(this.store, this.clock), random: systemRandom };
      this.#endpoints.set(`${name}.news`, createEndpoint(service(name, [on(news, handler)]), ports));
    }
  }

  /** An event, and all that follows from it at once. */
  async tell(n: number): Promise<void> {
    await this.#deliver(testEvent({ id: `E${n}`, type: 'news', subject: wf, data: { n } }));
    await this.settle();
  }

  /** What is unsent comes to everybody, until there is nothing more. */
  async settle(): Promise<void> {
    for (;;) {
      const unsent = await this.store.unsent({});
      if (unsent.length === 0) return;
      await this.store.sent(unsent.map(({ id }) => id));
      for (const { message } of unsent) if (message.topic === 'news') await this.#deliver(message);
    }
  }

  async #deliver(message: Message): Promise<void> {
    const messageId = String(++this.#messages);
    for (const [name, endpoint] of this.#endpoints) {
      const sent = { ...message, messageId, publishTime: '2026-01-01T00:00:00Z' };
      await endpoint.deliver(deliveryOf(`projects/p/subscriptions/${name}`, sent));
    }
  }

  /** That much later: timers have fired, and what has expired is gone. */
  async pass(days: number): Promise<void> {
    this.clock.advance(days * dayMs);
    for (const due of await this.store.due(this.clock.now(), 10)) await this.store.commit(firing(due));
    await this.settle();
    for (const collection of expiring) {
      const gone = (await this.#all(collection)).filter(({ fields: { expireAt } }) => {
        const at = (expireAt as { timestampValue?: string } | undefined)?.timestampValue;
        return at !== undefined && Date.parse(at) < this.clock.now();
      });
      await this.store.firestore.commit(gone.map(({ path }) => ({ kind: 'delete', path })));
    }
  }

  async letters(): Promise<DeadLetter[]> {
    const { documents } = await this.store.find({ collection: 'dead-letters' });
    return documents.map(({ data }) => data as unknown as DeadLetter);
  }

  /** How many documents there are in all collections of these names. */
  async count(...collections: string[]): Promise<number> {
    return (await Promise.all(collections.map((each) => this.#all(each)))).flat().length;
  }

  #all(collection: string): ReturnType<GoogleStore['firestore']['query']> {
    const orderBy = [{ field: '__name__' }];
    return this.store.firestore.query({ collection, allDescendants: true, orderBy, limit: 1000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
  }
}

const expiring = firestoreIndexes().fieldOverrides.flatMap(({ ttl, collectionGroup }) =>
  ttl ? [collectionGroup] : [],
);

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Firestore', found.missing, test.skip);
else {
  let emulator: Emulator;
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  test.each([
    ['', {}],
    [' of personal data', { personal: true }],
  ])(
    'an activity%s runs once, however late its dead letter is redriven; what it gave goes when that is settled',
    async (_of, options) => {
      let [paid, broken] = [0, true];
      await using bench = new Bench(emulator.address, {
        ada: async ({ data: { n } }, step) => {
          if (n === 2) await step.redrive((await bench.letters())[0]!.id);
        },
        bob: async ({ data: { n } }, step) => {
          if (n !== 1) return;
          await step.run('pay', {}, async () => void paid++, options);
          if (broken) throw new PermanentError('no');
        },
      });
      await bench.tell(1);
      await bench.pass(100);
      broken = false;
      await bench.tell(2);
      expect(paid).toBe(1);
      expect(await bench.letters()).toMatchObject([{ state: 'resolved' }]);
      expect(await bench.count('activities', 'personal')).toBe(1);
      await bench.pass(46);
      expect(await bench.count('activities', 'personal', 'inbox')).toBe(0);
    },
  );

  test('what a run recorded that the last run did not ask for goes with the delivery, too', async () => {
    await using bench = new Bench(emulator.address, {
      ada: async () => {},
      bob: async (_event, step) => {
        await step.run(`ask ${step.attempt}`, {}, async () => {});
        if (step.attempt < 3) throw new Error('not yet');
      },
    });
    await bench.tell(1);
    for (let retries = 0; retries < 2; retries++) await bench.pass(1);
    expect(await bench.count('activities')).toBe(3);
    await bench.pass(46);
    expect(await bench.count('activities', 'inbox')).toBe(0);
  });

  test('a dead letter that is discarded leaves nothing but its record', async () => {
    await using bench = new Bench(emulator.address, {
      ada: async ({ data: { n } }, step) => {
        if (n === 2) await step.discard((await bench.letters())[0]!.id, 'not worth it');
      },
      bob: async ({ data: { n } }, step) => {
        if (n !== 1) return;
        await step.run('pay', {}, async () => {});
        throw new PermanentError('no');
      },
    });
    await bench.tell(1);
    await bench.pass(100);
    await bench.tell(2);
    await bench.pass(46);
    expect(await bench.count('activities', 'inbox')).toBe(0);
    expect(await bench.letters()).toMatchObject([{ state: 'discarded' }]);
  });

  test('a dead letter of a timer’s message is handled when it is redriven, however long ago another took that message in', async () => {
    const taken: string[] = [];
    let broken = true;
    await using bench = new Bench(emulator.address, {
      ada: async ({ data: { n } }, step) => {
        taken.push(`ada ${n}`);
        if (n === 1) step.publish(news, { n: 7 }, { after: '1d', timer: 'later' });
        if (n === 2) await step.redrive((await bench.letters())[0]!.id);
      },
      bob: async ({ data: { n } }) => {
        if (n === 7 && broken) throw new PermanentError('no');
        taken.push(`bob ${n}`);
      },
    });
    await bench.tell(1);
    await bench.pass(1);
    await bench.pass(100);
    broken = false;
    await bench.tell(2);
    expect(taken).toEqual(['ada 1', 'bob 1', 'ada 7', 'ada 2', 'bob 2', 'bob 7']);
    expect(await bench.letters()).toMatchObject([{ state: 'resolved' }]);
  });
}
