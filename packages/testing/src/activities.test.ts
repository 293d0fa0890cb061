// Side effects whose result is remembered, and their deadlines.
import { collection, type Step } from '@dormouse/core';
import { expect, test } from 'vitest';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { told } from './thing.ts';

const notes = collection<{ text: string }>('notes');

test('the result of an activity is remembered: a re-run does not repeat it', async () => {
  let calls = 0;
  const keys = new Set<string>();
  await using bench = await EndpointBench.with(
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
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  expect(await bench.read(wf)).toEqual({ n: 42 });
  expect([calls, keys.size]).toEqual([1, 1]);
});

test('of two overlapping runs of an activity, both take the result that was recorded first', async () => {
  const results: number[] = [];
  let calls = 0;
  const both = Promise.withResolvers<void>();
  await using bench = await EndpointBench.with(async (_event, step) => {
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
  await using bench = await EndpointBench.with(async (_event, step) => {
    await step.run('call', null, async () => {
      await effect(step);
    });
  });
  await bench.deliver(event('E1'));
  const documents = await bench.deadLetters();
  expect(documents[0]!.data).toMatchObject({
    code: 'step.effect-in-activity',
    cause: expect.stringContaining('activity "call"'),
  });
});

test('an activity hears its signal two seconds before the ack deadline, and its failure is committed', async () => {
  const heard: unknown[] = [];
  await using bench = await EndpointBench.with(
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
  expect(await bench.timers()).toHaveLength(1);
});

test('a handler that outlives its deadline has failed, and nothing that it does afterwards has an effect', async () => {
  const started = Promise.withResolvers<void>();
  const woken = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<unknown>();
  await using bench = await EndpointBench.with(
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
  await using bench = await EndpointBench.with(async (_event, step) => {
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
  await using bench = await EndpointBench.with(async (_event, step) => {
    await step.run('call', null, async () => letter.repeat(length));
  });
  await bench.deliver(event('E1'));
  const documents = await bench.deadLetters();
  expect(documents.map(({ data }) => data!.code)).toEqual(code === undefined ? [] : [code]);
});

test('an activity that runs again under its name with another input is a named error', async () => {
  let input = 0;
  await using bench = await EndpointBench.with(
    async (_event, step) => {
      await step.run('call', input++, async () => 'done');
      if (step.attempt === 1) throw new Error('again');
    },
    { retry: { minBackoff: '0s' } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  const documents = await bench.deadLetters();
  expect(documents[0]!.data).toMatchObject({ code: 'step.activity-input' });
});
