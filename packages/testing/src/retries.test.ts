// What follows a failure: a retry after a backoff, by whose policy, or a dead letter.
import {
  createEndpoint,
  deadLetter,
  decodeMarks,
  firing,
  type Message,
  on,
  PermanentError,
  RetryLaterError,
  service,
  topic,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { taker } from './thing.ts';

test('a raw message without an id is one event in all its attempts, and dies of them', async () => {
  const raw = topic('raw.things', { schema: z.unknown(), raw: true });
  await using bench = await EndpointBench.with(async () => {});
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
  const documents = await bench.deadLetters();
  expect(documents).toMatchObject([{ data: { attempts: 3 } }]);
});

test('a retry decided right before the clock goes back, and committed right after, waits no longer than its backoff', async () => {
  await using bench = await EndpointBench.with(
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
  await using bench = await EndpointBench.with(
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
    const [timer] = await bench.timers();
    expect(timer!.dueAt - bench.clock.now()).toBe(backoffMs);
    expect(decodeMarks(timer!.message.attributes)).toEqual({ to: taker, attempt: attempt + 1 });
    message = timer!.message;
    bench.clock.advance(backoffMs);
    await bench.fireDue();
    expect(await bench.timers()).toEqual([]);
  }
  await bench.deliver(message);
  expect(await bench.timers()).toEqual([]);
  const [letter] = bench.published(deadLetter);
  expect(JSON.parse(Buffer.from(letter!.data, 'base64').toString())).toMatchObject({
    topic: 'thing.asked',
    subscription: taker,
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
  await using bench = await EndpointBench.with(async () => {
    runs++;
    throw new Error('no');
  });
  await bench.deliver(event('E1'));
  await bench.deliver(event('E1'));
  expect(runs).toBe(1);
  expect(await bench.entries()).toHaveLength(1);
});

test('a permanent error is dead-lettered at once, with a record that holds the event', async () => {
  await using bench = await EndpointBench.with(async () => {
    throw new PermanentError('never', { cause: new Error('because') });
  });
  await bench.deliver(event('E1', { n: 5 }));
  const documents = await bench.deadLetters();
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
  await using bench = await EndpointBench.with(
    async () => {
      runs++;
      throw new RetryLaterError('not open yet', { after: '1h' });
    },
    { retry: { attempts: 2 } },
  );
  let message = event('E1');
  for (let n = 0; n < 5; n++) {
    await bench.deliver(message);
    const [timer] = await bench.timers();
    expect(timer!.dueAt - bench.clock.now()).toBe(3_600_000);
    message = timer!.message;
    bench.clock.advance(3_600_000);
    await bench.fireDue();
  }
  expect(runs).toBe(5);
});

test('a failure decided on what has moved since is not committed: the step runs again', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async (_event, step) => {
    const found = await step.workflow(thing);
    if (++runs > 1) return;
    await bench.write(wf, { n: 100 });
    throw new PermanentError(`no good: ${found.data.n}`);
  });
  await bench.deliver(event('E1'));
  expect(runs).toBe(2);
  expect(await bench.deadLetters()).toEqual([]);
});

test('a failed activity is tried for more than an hour by a policy of its own, counted apart from failures of the handler', async () => {
  let down = true;
  await using bench = await EndpointBench.with(
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
    const [timer] = await bench.timers();
    if (!timer) return false;
    message = timer.message;
    bench.clock.advance(timer.dueAt - bench.clock.now());
    await bench.fireDue();
    return true;
  };
  for (let attempt = 1; attempt <= 20; attempt++) expect(await next()).toBe(true);
  expect(bench.clock.now() - begunAt).toBeGreaterThan(3_600_000);
  // Well again: the handler has both of its own attempts.
  down = false;
  expect(await next()).toBe(true);
  expect(await next()).toBe(false);
  expect((await bench.deadLetters())[0]!.data).toMatchObject({
    cause: 'and then the handler fails',
    attempts: 22,
  });
});

test('an activity that fails is tried again after its backoff, not at once, also where what the handler read has moved', async () => {
  let asked = 0;
  const started = Promise.withResolvers<void>();
  const moved = Promise.withResolvers<void>();
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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
  expect(await bench.timers()).toHaveLength(1);
});

test('an activity may have a policy of its own', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
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
  expect(await bench.deadLetters()).toHaveLength(1);
});
