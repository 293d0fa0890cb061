import {
  type BlobStore,
  collection,
  createEndpoint,
  type Delivery,
  decodeMarks,
  type EndpointPorts,
  firing,
  type Handler,
  type Message,
  on,
  PermanentError,
  RetryLaterError,
  refOf,
  type Step,
  type SubscriptionOptions,
  service,
  type Topic,
  timersOf,
  topic,
  workflow,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { LocalStores } from './local-stores.ts';
import { ManualClock } from './manual-clock.ts';
import { testEvent } from './test-event.ts';

const asked = topic('thing.asked', { schema: z.object({ n: z.number() }) });
const told = topic('thing.told', { schema: z.object({ n: z.number() }) });
const thing = workflow<{ n: number; seen?: number }>({ idPrefix: 'WF' });
const notes = collection<{ text: string }>('notes');

const wf = 'workflows/WF-1';

/** A service of one handler over a real store, with the topics it needs and time by hand. */
class Bench implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly stores = LocalStores.inMemory({ clock: this.clock });
  readonly log: string[] = [];
  readonly ports: EndpointPorts;
  readonly #deliver: (delivery: Delivery) => Promise<void>;
  #messages = 0;

  private constructor(handler: Handler<{ n: number }>, options: SubscriptionOptions) {
    const record = (moment: string) => void this.log.push(moment);
    const kept = new Map<string, Uint8Array>();
    const blobs: BlobStore = {
      put: async (key, bytes) => void kept.set(key, bytes),
      get: async (key) => kept.get(key)!,
      removeAll: async () => 0,
    };
    this.ports = {
      system: 'test',
      store: this.stores.store,
      blobs,
      clock: this.clock,
      random: { fraction: () => 1, bytes: (count) => new Uint8Array(count) },
      log: { info: record, warn: record, error: record },
      authenticate: async (token) => {
        if (token !== 'good') throw new Error('bad token');
      },
    };
    const endpoint = createEndpoint(service('taker', [on(asked, handler, options)]), this.ports);
    this.#deliver = endpoint.deliver;
    this.fetch = endpoint.fetch;
  }

  readonly fetch: (request: Request) => Promise<Response>;

  static async with(handler: Handler<{ n: number }>, options: SubscriptionOptions = {}): Promise<Bench> {
    const bench = new Bench(handler, options);
    for (const { name } of [asked, told, topic('dead.letter', { schema: z.unknown(), raw: true })]) {
      await bench.stores.broker.createTopic({ name: `projects/test/topics/${name}` });
      await bench.stores.broker.createSubscription({
        name: `projects/test/subscriptions/reader.${name}`,
        topic: `projects/test/topics/${name}`,
      });
    }
    await bench.stores.store.commit({
      tenant: 'default',
      reads: [],
      writes: [{ ref: wf, data: { n: 0 } }],
      entries: [],
      journal: [],
      publish: [],
    });
    return bench;
  }

  deliver(message: Message): Promise<void> {
    return this.#deliver({
      subscription: 'taker.thing.asked',
      message,
      messageId: String(++this.#messages),
      publishTime: '2026-01-01T00:00:00Z',
    });
  }

  /** What has been published to a topic, oldest first. */
  published(to: Topic): Message[] {
    const subscription = this.stores.broker.subscription(`projects/test/subscriptions/reader.${to.name}`);
    return this.stores.broker.deliveries
      .lease(subscription, 100)
      .map(({ message }) => ({ topic: to.name, attributes: message.attributes, data: message.data }));
  }

  async read(ref: string): Promise<Record<string, unknown> | null> {
    return (await this.stores.store.get([ref]))[0]!.data;
  }

  entries() {
    return Array.fromAsync(this.stores.store.log({ workflow: wf }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
  }
}

function event(
  id: string,
  data: unknown = { n: 1 },
  more: { dataschema?: string; tenant?: string; subject?: string } = {},
): Message {
  return testEvent({ id, type: asked.name, subject: wf, data, ...more });
}

test('all that a step does is committed together: document, log, message', async () => {
  await using bench = await Bench.with(async ({ data }, step) => {
    const found = await step.workflow(thing);
    found.update({ n: data.n });
    step.publish(told, { n: data.n });
  });
  await bench.deliver(event('E1', { n: 7 }));
  expect(await bench.read(wf)).toEqual({ n: 7 });
  expect(bench.published(told)).toHaveLength(1);
  const [entry] = await bench.entries();
  expect(entry!.entry).toMatchObject({
    cause: { kind: 'event', id: 'E1', subscription: 'taker.thing.asked', attempt: 1 },
    changes: [{ op: 'replace', path: '/n', value: 7 }],
    published: [{ topic: 'thing.told', data: { n: 7 } }],
  });
});

test('what a step publishes about a workflow has that as its ordering key, also what a timer holds', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 }, { subject: refOf('workflows', 'WF-2', 'letters', 'L1') });
    step.publish(told, { n: 3 }, { after: '1h', timer: 'later' });
  });
  await bench.deliver(event('E1'));
  const subscription = bench.stores.broker.subscription(`projects/test/subscriptions/reader.${told.name}`);
  const leases = bench.stores.broker.deliveries.lease(subscription, 10);
  expect(leases.map(({ message }) => message.orderingKey)).toEqual([wf, 'workflows/WF-2']);
  expect((await timersOf(bench.stores.store, wf)).map(({ message }) => message.orderingKey)).toEqual([wf]);
});

test('a raw message without an id is one event in all its attempts, and dies of them', async () => {
  const raw = topic('raw.things', { schema: z.unknown(), raw: true });
  await using bench = await Bench.with(async () => {});
  await bench.stores.broker.createTopic({ name: `projects/test/topics/${raw.name}` });
  const failing = async () => {
    throw new Error('no');
  };
  const retry = { attempts: 3, minBackoff: '1s' } as const;
  const endpoint = createEndpoint(service('raw', [on(raw, failing, { name: 'things', retry })]), bench.ports);
  let message: Message | undefined = { topic: raw.name, attributes: {}, data: '' };
  for (let n = 1; message !== undefined; n++) {
    await endpoint.deliver({ subscription: 'raw.things', message, messageId: String(n), publishTime: '' });
    bench.clock.advance(3_600_000);
    const [due] = await bench.stores.store.due(bench.clock.now(), 1);
    message = due?.data?.message as Message | undefined;
    if (due) await bench.stores.store.commit(firing(due));
  }
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents).toMatchObject([{ data: { attempts: 3 } }]);
});

test('nothing that a failed step did is committed', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    const found = await step.workflow(thing);
    found.update({ n: 99 });
    step.publish(told, { n: 99 });
    throw new Error('after all that');
  });
  await bench.deliver(event('E1'));
  expect(await bench.read(wf)).toEqual({ n: 0 });
  expect(bench.published(told)).toEqual([]);
});

test('the same event delivered three times has its effects once', async () => {
  let runs = 0;
  await using bench = await Bench.with(async ({ data }, step) => {
    runs++;
    const found = await step.workflow(thing);
    found.update({ n: found.data.n + data.n });
    step.publish(told, { n: 1 });
  });
  for (let n = 0; n < 3; n++) await bench.deliver(event('E1'));
  expect(await bench.read(wf)).toEqual({ n: 1 });
  expect(bench.published(told)).toHaveLength(1);
  expect(runs).toBe(1);
});

test('two overlapping deliveries of one event commit once', async () => {
  const bothRun = Promise.withResolvers<void>();
  let running = 0;
  await using bench = await Bench.with(async ({ data }, step) => {
    const found = await step.workflow(thing);
    if (++running === 2) bothRun.resolve();
    await bothRun.promise;
    found.update({ n: found.data.n + data.n });
    step.publish(told, { n: 1 });
  });
  await Promise.all([bench.deliver(event('E1')), bench.deliver(event('E1'))]);
  expect(await bench.read(wf)).toEqual({ n: 1 });
  expect(bench.published(told)).toHaveLength(1);
});

test('ten events that change one document at once all count: what moved is read again', async () => {
  await using bench = await Bench.with(async ({ data }, step) => {
    const found = await step.workflow(thing);
    found.update({ n: found.data.n + data.n });
  });
  await Promise.all(Array.from({ length: 8 }, (_, n) => bench.deliver(event(`E${n}`))));
  expect(await bench.read(wf)).toEqual({ n: 8 });
});

test('a step that read nothing of the workflow does not conflict with one that changes it', async () => {
  let runs = 0;
  const changed = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 2) {
      const found = await step.workflow(thing);
      found.update({ n: 2 });
      return;
    }
    runs++;
    started.resolve();
    await changed.promise;
    step.publish(told, { n: 1 });
  });
  const slow = bench.deliver(event('E1'));
  await started.promise;
  await bench.deliver(event('E2', { n: 2 }));
  changed.resolve();
  await slow;
  expect(runs).toBe(1);
});

test('ids of published events are the same in every run for the same event', async () => {
  const ids: string[] = [];
  await using bench = await Bench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 });
  });
  await bench.deliver(event('E1'));
  await using other = await Bench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 });
  });
  await other.deliver(event('E1'));
  ids.push(...[...bench.published(told), ...other.published(told)].map(({ attributes }) => attributes['ce-id']!));
  expect(ids.slice(0, 2)).toEqual(ids.slice(2));
  expect(new Set(ids).size).toBe(2);
});

test('a retry decided right before the clock goes back, and committed right after, waits no longer than its backoff', async () => {
  await using bench = await Bench.with(
    async () => {
      throw new Error('not yet');
    },
    { retry: { minBackoff: '10s' } },
  );
  bench.ports.random.fraction = () => {
    bench.clock.advance(-86_400_000);
    return 1;
  };
  await bench.deliver(event('E1'));
  bench.clock.advance(9_999);
  expect(await bench.stores.store.due(bench.clock.now(), 10)).toEqual([]);
  bench.clock.advance(1);
  expect(await bench.stores.store.due(bench.clock.now(), 10)).toHaveLength(1);
});

test('a handler that throws is run again by an addressed message after its backoff, which doubles', async () => {
  await using bench = await Bench.with(
    async () => {
      throw new Error('not yet');
    },
    { retry: { attempts: 3, minBackoff: '10s' } },
  );
  let message = event('E1');
  for (const [attempt, backoffMs] of [
    [1, 10_000],
    [2, 20_000],
  ] as const) {
    await bench.deliver(message);
    const [timer] = await timersOf(bench.stores.store, wf);
    expect(timer!.dueAt - bench.clock.now()).toBe(backoffMs);
    expect(decodeMarks(timer!.message.attributes)).toEqual({ to: 'taker.thing.asked', attempt: attempt + 1 });
    message = timer!.message;
    bench.clock.advance(backoffMs);
    const [due] = await bench.stores.store.due(bench.clock.now(), 10);
    await bench.stores.store.commit(firing(due!));
    expect(await timersOf(bench.stores.store, wf)).toEqual([]);
  }
  await bench.deliver(message);
  expect(await timersOf(bench.stores.store, wf)).toEqual([]);
  const [letter] = bench.published(topic('dead.letter', { schema: z.unknown() }));
  expect(JSON.parse(Buffer.from(letter!.data, 'base64').toString())).toMatchObject({
    topic: 'thing.asked',
    subscription: 'taker.thing.asked',
    cause: 'not yet',
    attempts: 3,
  });
  expect((await bench.entries()).map(({ entry }) => 'decision' in entry && entry.decision.kind)).toEqual([
    'retry',
    'retry',
    'dead-letter',
  ]);
});

test('the wire bringing a failed attempt again changes nothing', async () => {
  let runs = 0;
  await using bench = await Bench.with(async () => {
    runs++;
    throw new Error('no');
  });
  await bench.deliver(event('E1'));
  await bench.deliver(event('E1'));
  expect(runs).toBe(1);
  expect(await bench.entries()).toHaveLength(1);
});

test('a permanent error is dead-lettered at once, with a record that holds the event', async () => {
  await using bench = await Bench.with(async () => {
    throw new PermanentError('never', { cause: new Error('because') });
  });
  await bench.deliver(event('E1', { n: 5 }));
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents).toHaveLength(1);
  expect(documents[0]!.data).toMatchObject({
    state: 'open',
    attempts: 1,
    cause: 'PermanentError: never; caused by because',
    workflow: wf,
  });
  const { message } = documents[0]!.data as { message: Message };
  expect(JSON.parse(Buffer.from(message.data, 'base64').toString())).toEqual({ n: 5 });
});

test('asking to be run later uses up no attempt', async () => {
  let runs = 0;
  await using bench = await Bench.with(
    async () => {
      runs++;
      throw new RetryLaterError('not open yet', { after: '1h' });
    },
    { retry: { attempts: 2 } },
  );
  let message = event('E1');
  for (let n = 0; n < 5; n++) {
    await bench.deliver(message);
    const [timer] = await timersOf(bench.stores.store, wf);
    expect(timer!.dueAt - bench.clock.now()).toBe(3_600_000);
    message = timer!.message;
    bench.clock.advance(3_600_000);
    const [due] = await bench.stores.store.due(bench.clock.now(), 10);
    await bench.stores.store.commit(firing(due!));
  }
  expect(runs).toBe(5);
});

test('data that does not fit the schema is dead-lettered without a run, and the cause names the field', async () => {
  let runs = 0;
  await using bench = await Bench.with(async () => void runs++);
  await bench.deliver(event('E1', { n: 'seven' }));
  expect(runs).toBe(0);
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents[0]!.data).toMatchObject({ code: 'event.invalid', cause: expect.stringContaining('n: ') });
});

test('an event of a newer schema version waits for newer code', async () => {
  await using bench = await Bench.with(async () => {}, { retry: { attempts: 1 } });
  await bench.deliver(event('E1', { n: 1, extra: true }, { dataschema: 'thing.asked/2' }));
  expect(await timersOf(bench.stores.store, wf)).toHaveLength(1);
  expect((await bench.stores.store.find({ collection: 'dead-letters' })).documents).toEqual([]);
});

test('a message addressed to another subscription is let pass', async () => {
  let runs = 0;
  await using bench = await Bench.with(async () => void runs++);
  const message = event('E1');
  await bench.deliver({ ...message, attributes: { ...message.attributes, 'dormouse-to': 'other.thing.asked' } });
  expect(runs).toBe(0);
  expect(await bench.entries()).toEqual([]);
});

test('the result of an activity is remembered: a re-run does not repeat it', async () => {
  let calls = 0;
  const keys = new Set<string>();
  await using bench = await Bench.with(
    async (_event, step) => {
      const result = await step.run('call', { a: 1 }, async (_input, { idempotencyKey }) => {
        calls++;
        keys.add(idempotencyKey);
        return { answer: 42 };
      });
      if (step.attempt === 1) throw new Error('after the activity');
      const found = await step.workflow(thing);
      found.update({ n: result.answer });
    },
    { retry: { minBackoff: '0s' } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  expect(await bench.read(wf)).toEqual({ n: 42 });
  expect([calls, keys.size]).toEqual([1, 1]);
});

test('of two overlapping runs of an activity, both take the result that was recorded first', async () => {
  const results: number[] = [];
  let calls = 0;
  const both = Promise.withResolvers<void>();
  await using bench = await Bench.with(async (_event, step) => {
    results.push(
      await step.run('call', null, async () => {
        const mine = ++calls;
        if (calls === 2) both.resolve();
        await both.promise;
        return mine;
      }),
    );
  });
  await Promise.all([bench.deliver(event('E1')), bench.deliver(event('E1'))]);
  expect(calls).toBe(2);
  expect(new Set(results).size).toBe(1);
});

test.each([
  ['publishing', (step: Step) => step.publish(told, { n: 1 })],
  ['writing', async (step: Step) => (await step.document(notes, 'a')).create({ text: 'x' })],
])('%s inside an activity is a named error', async (_what, effect) => {
  await using bench = await Bench.with(async (_event, step) => {
    await step.run('call', null, async () => {
      await effect(step);
    });
  });
  await bench.deliver(event('E1'));
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents[0]!.data).toMatchObject({
    code: 'step.effect-in-activity',
    cause: expect.stringContaining('activity "call"'),
  });
});

test('an activity hears its signal two seconds before the ack deadline, and its failure is committed', async () => {
  const heard: unknown[] = [];
  await using bench = await Bench.with(
    async (_event, step) => {
      await step.run('slow', null, (_input, { signal, clock }) => {
        const { promise, reject } = Promise.withResolvers<never>();
        signal.addEventListener('abort', () => {
          heard.push(clock.now());
          reject(signal.reason);
        });
        started.resolve();
        return promise;
      });
    },
    { ackDeadline: '10s' },
  );
  const started = Promise.withResolvers<void>();
  const begunAt = bench.clock.now();
  const delivering = bench.deliver(event('E1'));
  await started.promise;
  bench.clock.advance(7_999);
  expect(heard).toEqual([]);
  bench.clock.advance(1);
  await delivering;
  expect(heard).toEqual([begunAt + 8_000]);
  expect(await timersOf(bench.stores.store, wf)).toHaveLength(1);
});

test('a handler that outlives its deadline has failed, and nothing that it does afterwards has an effect', async () => {
  const started = Promise.withResolvers<void>();
  const woken = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<unknown>();
  await using bench = await Bench.with(
    async (_event, step) => {
      started.resolve();
      await woken.promise;
      try {
        step.publish(told, { n: 1 });
      } catch (error) {
        ended.resolve((error as { code: string }).code);
      }
    },
    { ackDeadline: '10s' },
  );
  const delivering = bench.deliver(event('E1'));
  await started.promise;
  bench.clock.advance(8_000);
  await delivering;
  woken.resolve();
  expect(await ended.promise).toBe('step.closed');
  const [entry] = await bench.entries();
  expect(entry!.entry).toMatchObject({ error: { code: 'step.deadline' }, decision: { kind: 'retry' } });
  expect(bench.published(told)).toEqual([]);
});

test('an activity with a time-out of its own is aborted then, and has failed whether it listens or not', async () => {
  const started = Promise.withResolvers<AbortSignal>();
  await using bench = await Bench.with(async (_event, step) => {
    await step.run(
      'slow',
      null,
      (_input, { signal }) => {
        started.resolve(signal);
        return new Promise<never>(() => {});
      },
      { timeout: '30s' },
    );
  });
  const delivering = bench.deliver(event('E1'));
  const signal = await started.promise;
  bench.clock.advance(29_999);
  expect(signal.aborted).toBe(false);
  bench.clock.advance(1);
  await delivering;
  expect(signal.aborted).toBe(true);
  const [entry] = await bench.entries();
  expect(entry!.entry).toMatchObject({
    error: { message: 'activity "slow" gave no result within 30 s' },
    decision: { kind: 'retry' },
  });
});

test.each([
  ['of 256 KB is kept', 256 * 1024 - 2, 'x', undefined],
  ['over 256 KB is refused', 256 * 1024 - 1, 'x', 'step.activity-result'],
  ['that only in characters is not over 256 KB is refused', 200_000, 'é', 'step.activity-result'],
])('a result %s', async (_what, length, letter, code) => {
  await using bench = await Bench.with(async (_event, step) => {
    await step.run('call', null, async () => letter.repeat(length));
  });
  await bench.deliver(event('E1'));
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents.map(({ data }) => data!.code)).toEqual(code === undefined ? [] : [code]);
});

test('an activity that runs again under its name with another input is a named error', async () => {
  let input = 0;
  await using bench = await Bench.with(
    async (_event, step) => {
      await step.run('call', input++, async () => 'done');
      if (step.attempt === 1) throw new Error('again');
    },
    { retry: { minBackoff: '0s' } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents[0]!.data).toMatchObject({ code: 'step.activity-input' });
});

test('a timer fires once, and its event consumes it', async () => {
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '30d', timer: 'reminder' });
    else (await step.workflow(thing)).update({ seen: step.now });
  });
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  expect(timer).toMatchObject({ name: 'reminder', dueAt: bench.clock.now() + 30 * 86_400_000 });
  bench.clock.advance(30 * 86_400_000);
  const [due] = await bench.stores.store.due(bench.clock.now(), 10);
  await bench.stores.store.commit(firing(due!));
  expect(await bench.stores.store.due(bench.clock.now(), 10)).toEqual([]);
  const [fired] = bench.published(asked);
  await bench.deliver(fired!);
  expect(await bench.read(wf)).toMatchObject({ seen: bench.clock.now() });
  expect(await timersOf(bench.stores.store, wf)).toEqual([]);
});

test('the message of a timer that was cancelled or replaced meanwhile does nothing', async () => {
  let fired = 0;
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 2) await step.cancelTimer('reminder');
    else fired++;
  });
  await bench.deliver(event('E1', { n: 1 }));
  const [first] = await timersOf(bench.stores.store, wf);
  await bench.deliver(event('E2', { n: 1 }));
  const [second] = await timersOf(bench.stores.store, wf);
  await bench.deliver(first!.message);
  expect(fired).toBe(0);
  await bench.deliver(event('E3', { n: 2 }));
  await bench.deliver(second!.message);
  expect(fired).toBe(0);
});

test('so does a retry of it, though its first run came before that', async () => {
  let runs = 0;
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 2) await step.cancelTimer('reminder');
    else {
      runs++;
      throw new Error('down');
    }
  });
  await bench.deliver(event('E1', { n: 1 }));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  await bench.deliver(event('E2', { n: 2 }));
  const { attributes } = timer!.message;
  await bench.deliver({
    ...timer!.message,
    attributes: { ...attributes, 'dormouse-to': 'taker.thing.asked', 'dormouse-attempt': '2' },
  });
  expect(runs).toBe(1);
});

test('a handler that sets its own timer anew keeps it', async () => {
  await using bench = await Bench.with(async ({ data }, step) => {
    step.publish(asked, { n: data.n + 1 }, { after: '1h', timer: 'reminder' });
  });
  await bench.deliver(event('E1'));
  const [first] = await timersOf(bench.stores.store, wf);
  await bench.deliver(first!.message);
  const after = await timersOf(bench.stores.store, wf);
  expect(after).toHaveLength(1);
  expect(after[0]!.generation).not.toBe(first!.generation);
});

test('a push without a good token is refused and changes nothing', async () => {
  let runs = 0;
  await using bench = await Bench.with(async () => void runs++);
  const { attributes, data } = event('E1');
  const body = JSON.stringify({
    message: { attributes, data, messageId: '1', publishTime: '2026-01-01T00:00:00Z' },
    subscription: 'projects/p/subscriptions/taker.thing.asked',
  });
  const push = (headers: Record<string, string>) =>
    bench.fetch(new Request('http://x/pubsub-push', { method: 'POST', headers, body }));
  expect((await push({})).status).toBe(401);
  expect((await push({ authorization: 'Bearer bad' })).status).toBe(401);
  expect(runs).toBe(0);
  expect((await push({ authorization: 'Bearer good' })).status).toBe(204);
  expect(runs).toBe(1);
});

test.each([
  ['GET', undefined, 405],
  ['POST', 'not json', 400],
  ['POST', '{"message":{}}', 400],
  ['POST', '{"message":{"messageId":"1","data":"e30="},"subscription":"projects/p/subscriptions/unknown.topic"}', 404],
])('a push that is none (%s %s) is answered %d', async (method, body, status) => {
  await using bench = await Bench.with(async () => {});
  const request = new Request('http://x/pubsub-push', {
    method,
    headers: { authorization: 'Bearer good' },
    ...(body !== undefined && { body }),
  });
  expect((await bench.fetch(request)).status).toBe(status);
});

test('a dead letter that is redriven runs again, and is resolved when it settles', async () => {
  let broken = true;
  await using bench = await Bench.with(
    async ({ data }, step) => {
      if (data.n === 0) {
        const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
        await step.redrive(documents[0]!.data!.id as string);
      } else if (broken) throw new Error('broken');
      else (await step.workflow(thing)).update({ n: 1 });
    },
    { retry: { attempts: 2, minBackoff: '0s' } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  broken = false;
  await bench.deliver(event('E2', { n: 0 }));
  const [redriven] = bench.published(asked);
  expect(decodeMarks(redriven!.attributes)).toMatchObject({ to: 'taker.thing.asked', attempt: 3 });
  await bench.deliver(redriven!);
  expect(await bench.read(wf)).toEqual({ n: 1 });
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents.map(({ data }) => data!.state)).toEqual(['resolved']);
});

test('a dead letter of a timer that was cancelled since is resolved by its redrive, without a run', async () => {
  let runs = 0;
  await using bench = await Bench.with(
    async ({ data }, step) => {
      if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
      else if (data.n === 3) await step.cancelTimer('reminder');
      else if (data.n === 4) {
        const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
        await step.redrive(documents[0]!.data!.id as string);
      } else {
        runs++;
        throw new PermanentError('broken');
      }
    },
    { retry: { attempts: 1 } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  await bench.deliver(event('E2', { n: 3 }));
  await bench.deliver(event('E3', { n: 4 }));
  const [redriven] = bench.published(asked);
  await bench.deliver(redriven!);
  expect(runs).toBe(1);
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents.map(({ data }) => data!.state)).toEqual(['resolved']);
});

test('a retry whose timer was cancelled since ends without a run, and leaves nothing that waits for one', async () => {
  let runs = 0;
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 3) await step.cancelTimer('reminder');
    else {
      runs++;
      throw new Error('broken');
    }
  });
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  const retry = (await timersOf(bench.stores.store, wf)).find(({ name }) => name.startsWith('retry'));
  await bench.deliver(event('E2', { n: 3 }));
  await bench.deliver(retry!.message);
  expect(runs).toBe(1);
  const inbox = bench.stores.database.prepare("SELECT data ->> 'state' FROM document WHERE collection = 'inbox'");
  inbox.setReturnArrays(true);
  expect(inbox.all().flat()).toEqual(['settled', 'settled', 'settled']);
});

test('the event of a timer reaches every subscription of its topic', async () => {
  const seen: string[] = [];
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
    else seen.push('first');
  });
  const second = createEndpoint(service('other', [on(asked, async () => void seen.push('second'))]), bench.ports);
  await bench.deliver(event('E1'));
  const [timer] = await timersOf(bench.stores.store, wf);
  await bench.deliver(timer!.message);
  await second.deliver({
    subscription: 'other.thing.asked',
    message: timer!.message,
    messageId: '2',
    publishTime: '2026-01-01T00:00:00Z',
  });
  expect(seen).toEqual(['first', 'second']);
});

test('publishing to a topic that the system does not declare is dead-lettered, and stops no timer of others', async () => {
  const nowhere = topic('not.declared', { schema: z.object({}) });
  await using bench = await Bench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'good' });
    else if (data.n === 3) step.publish(nowhere, {}, { after: '1s', timer: 'bad' });
    else step.publish(nowhere, {});
  });
  for (const [id, n] of [
    ['E1', 1],
    ['E2', 2],
    ['E3', 3],
  ] as const)
    await bench.deliver(event(id, { n }));
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents.map(({ data }) => data!.code)).toEqual(['topic.undeclared', 'topic.undeclared']);
  expect((await timersOf(bench.stores.store, wf)).map(({ name }) => name)).toEqual(['good']);
});

test('what a handler does to the data it was given does not change what the log says was there before', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    const found = await step.workflow(thing);
    (found.data as { n: number }).n = 5;
    found.update({ n: 5 });
  });
  await bench.deliver(event('E1'));
  const [entry] = await bench.entries();
  expect(entry!.entry).toMatchObject({ changes: [{ op: 'replace', path: '/n', value: 5 }] });
});

test('of two reads of one document at once, what moved between them is noticed', async () => {
  let runs = 0;
  await using bench = await Bench.with(async (_event, step) => {
    const [first] = await Promise.all([step.document(notes, 'a'), step.document(notes, 'a')]);
    if (++runs === 1) {
      const write = { ref: first.ref, data: { text: 'another' } };
      await bench.stores.store.commit({
        tenant: 'default',
        reads: [],
        writes: [write],
        entries: [],
        journal: [],
        publish: [],
      });
    }
    (await step.workflow(thing)).update({ n: runs });
  });
  await bench.deliver(event('E1'));
  expect([runs, await bench.read(wf)]).toEqual([2, { n: 2 }]);
});

test('a failure decided on what has moved since is not committed: the step runs again', async () => {
  let runs = 0;
  await using bench = await Bench.with(async (_event, step) => {
    const found = await step.workflow(thing);
    if (++runs > 1) return;
    const write = { ref: wf, data: { n: 100 } };
    await bench.stores.store.commit({
      tenant: 'default',
      reads: [],
      writes: [write],
      entries: [],
      journal: [],
      publish: [],
    });
    throw new PermanentError(`no good: ${found.data.n}`);
  });
  await bench.deliver(event('E1'));
  expect(runs).toBe(2);
  expect((await bench.stores.store.find({ collection: 'dead-letters' })).documents).toEqual([]);
});

test('what a step writes and publishes is of its event’s tenant', async () => {
  await using bench = await Bench.with(async ({ data }, step) => {
    (await step.workflow(thing)).create({ n: data.n });
    await step.run('ask', null, async () => 'answer');
    step.publish(told, { n: data.n });
    step.publish(told, { n: 2 }, { after: '1d', timer: 'later' });
  });
  await bench.deliver(event('E1', { n: 1 }, { tenant: 'acme', subject: 'workflows/WF-2' }));
  expect(bench.published(told).map(({ attributes }) => attributes['ce-tenant'])).toEqual(['acme']);
  const collections = bench.stores.database.prepare("SELECT collection FROM document WHERE tenant = 'acme' ORDER BY 1");
  collections.setReturnArrays(true);
  expect(collections.all().flat()).toEqual(['activities', 'inbox', 'timers/WF-2/named', 'workflows']);
});

test('an event of no tenant is of its workflow’s', async () => {
  await using bench = await Bench.with(async (_event, step) => step.publish(told, { n: 1 }));
  const write = { ref: 'workflows/WF-2', data: { n: 0 } };
  await bench.stores.store.commit({
    tenant: 'acme',
    reads: [],
    writes: [write],
    entries: [],
    journal: [],
    publish: [],
  });
  const message = event('E1', { n: 1 }, { subject: write.ref });
  const { 'ce-tenant': _tenant, ...attributes } = message.attributes;
  await bench.deliver({ ...message, attributes });
  expect(bench.published(told).map(({ attributes }) => attributes['ce-tenant'])).toEqual(['acme']);
});

test('an event of no tenant stays of the tenant of its first attempt, whatever becomes of its workflow', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    (await step.workflow(thing)).update({ n: 1 });
  });
  const { attributes, ...message } = event('E1', { n: 1 }, { subject: 'workflows/WF-2' });
  const { 'ce-tenant': _tenant, ...unclaimed } = attributes;
  await bench.deliver({ ...message, attributes: unclaimed });
  await bench.stores.store.commit({
    tenant: 'acme',
    reads: [],
    writes: [{ ref: 'workflows/WF-2', data: { n: 0 } }],
    entries: [],
    journal: [],
    publish: [],
  });
  await bench.deliver({ ...message, attributes: { ...unclaimed, 'dormouse-attempt': '2' } });
  expect(await bench.read('workflows/WF-2')).toEqual({ n: 0 });
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents).toMatchObject([{ tenant: 'default', data: { code: 'event.foreign', attempts: 2 } }]);
});

test('an event about another tenant’s workflow dies unseen by the handler, and leaves no trace in that workflow', async () => {
  let runs = 0;
  await using bench = await Bench.with(async () => void runs++);
  await bench.deliver(event('E1', { n: 1 }, { tenant: 'acme' }));
  expect([runs, await bench.entries()]).toEqual([0, []]);
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents).toMatchObject([{ tenant: 'acme', data: { code: 'event.foreign' } }]);
  expect(documents[0]!.data).not.toHaveProperty('workflow');
});

test('an event of a tenant that is none dies as malformed', async () => {
  await using bench = await Bench.with(async () => {});
  for (const [index, tenant] of ['*', '', 'Ac me', '-a', 'x'.repeat(64)].entries()) {
    await bench.deliver(event(`E${index}`, { n: 1 }, { tenant }));
  }
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters', tenant: 'default' });
  expect(documents.map(({ data }) => data!.code)).toEqual(Array(5).fill('event.malformed'));
});

test('to a step another tenant’s document is not there, and cannot be made or written', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    const note = await step.document(notes, 'theirs');
    expect(note.exists).toBe(false);
    expect(() => note.data).toThrow('there is no document');
    note.create({ text: 'ours' });
  });
  const theirs = { ref: `${wf}/notes/theirs`, data: { text: 'secret' } };
  await bench.stores.store.commit({
    tenant: 'acme',
    reads: [],
    writes: [theirs],
    entries: [],
    journal: [],
    publish: [],
  });
  await bench.deliver(event('E1'));
  expect(await bench.read(theirs.ref)).toEqual({ text: 'secret' });
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters' });
  expect(documents).toMatchObject([{ data: { code: 'document.exists' } }]);
});

test('a file whose content is not what was written is never handed to a handler', async () => {
  let told: unknown;
  await using bench = await Bench.with(async (_event, step) => {
    const file = await step.files.put('note.txt', 'ours');
    told = await step.files.text({ ...file, sha256: '0'.repeat(64) }).catch(({ code }) => code);
  });
  await bench.deliver(event('E1'));
  expect(told).toBe('blob.damaged');
});

test('a step opens no files but its own workflow’s', async () => {
  const causes: string[] = [];
  await using bench = await Bench.with(async (_event, step) => {
    const own = await step.files.put('note.txt', 'ours');
    expect(await step.files.read(own)).toBeDefined();
    for (const key of ['WF-2/abc/note.txt', 'WF-10/abc/note.txt', '../WF-1/abc/note.txt']) {
      await step.files.text({ ...own, key }).catch(({ code }) => causes.push(code));
    }
  });
  await bench.deliver(event('E1'));
  expect(causes).toEqual(['blob.missing', 'blob.missing', 'blob.missing']);
});

test('a failed activity is tried for more than an hour by a policy of its own, counted apart from failures of the handler', async () => {
  let down = true;
  await using bench = await Bench.with(
    async (_event, step) => {
      await step.run('call', null, async () => {
        if (down) throw new Error('the outside is down');
        return 'well';
      });
      throw new Error('and then the handler fails');
    },
    { retry: { attempts: 2 } },
  );
  const begunAt = bench.clock.now();
  let message = event('E1');
  const next = async () => {
    await bench.deliver(message);
    const [timer] = await timersOf(bench.stores.store, wf);
    if (!timer) return false;
    message = timer.message;
    bench.clock.advance(timer.dueAt - bench.clock.now());
    const [due] = await bench.stores.store.due(bench.clock.now(), 10);
    await bench.stores.store.commit(firing(due!));
    return true;
  };
  for (let attempt = 1; attempt <= 20; attempt++) expect(await next()).toBe(true);
  expect(bench.clock.now() - begunAt).toBeGreaterThan(3_600_000);
  // Well again: the handler has both of its own attempts.
  down = false;
  expect(await next()).toBe(true);
  expect(await next()).toBe(false);
  expect((await bench.stores.store.find({ collection: 'dead-letters' })).documents[0]!.data).toMatchObject({
    cause: 'and then the handler fails',
    attempts: 22,
  });
});

test('an activity that fails is tried again after its backoff, not at once, also where what the handler read has moved', async () => {
  let asked = 0;
  const started = Promise.withResolvers<void>();
  const moved = Promise.withResolvers<void>();
  await using bench = await Bench.with(async ({ data }, step) => {
    const found = await step.workflow(thing);
    if (data.n === 2) {
      found.update({ n: 2 });
      return;
    }
    await step.run('call', null, async () => {
      asked++;
      started.resolve();
      await moved.promise;
      throw new Error('the outside is down');
    });
  });
  const failing = bench.deliver(event('E1'));
  await started.promise;
  await bench.deliver(event('E2', { n: 2 }));
  moved.resolve();
  await failing;
  expect(asked).toBe(1);
  expect(await timersOf(bench.stores.store, wf)).toHaveLength(1);
});

test('an activity may have a policy of its own', async () => {
  await using bench = await Bench.with(async (_event, step) => {
    const retry = { attempts: 1 };
    await step.run(
      'call',
      null,
      async () => {
        throw new Error('no');
      },
      { retry },
    );
  });
  await bench.deliver(event('E1'));
  expect((await bench.stores.store.find({ collection: 'dead-letters' })).documents).toHaveLength(1);
});

test.each([
  { of: 'data', data: { n: 1, text: 'x'.repeat(10_000_000) }, subject: wf, told: 'put them into a file' },
  { of: 'a subject', data: { n: 1 }, subject: `${wf}/notes/${'x'.repeat(1_024)}`, told: 'its attribute ce-subject' },
])(
  'what is larger than any broker takes, by its $of, is refused when it is published',
  async ({ data, subject, told }) => {
    const large = topic('thing.told', { schema: z.looseObject({ n: z.number() }) });
    let refused: unknown;
    await using bench = await Bench.with(async (_event, step) => {
      try {
        step.publish(large, data, { subject });
      } catch (error) {
        refused = error;
      }
    });
    await bench.deliver(event('E1'));
    expect(refused).toMatchObject({ code: 'step.publish-invalid', message: expect.stringContaining(told) });
  },
);
