// All that a step does is one commit, made once.
import { collection, refOf, topic } from '@dormouse/core';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { asked, taker, told } from './thing.ts';

const notes = collection<{ text: string }>('notes');

test('all that a step does is committed together: document, log, message', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    const found = await step.workflow(thing);
    found.update({ n: data.n });
    step.publish(told, { n: data.n });
  });
  await bench.deliver(event('E1', { n: 7 }));
  expect(await bench.read(wf)).toEqual({ n: 7 });
  expect(bench.published(told)).toHaveLength(1);
  const [entry] = await bench.entries();
  expect(entry!.entry).toMatchObject({
    cause: { kind: 'event', id: 'E1', subscription: taker, attempt: 1 },
    changes: [{ op: 'replace', path: '/n', value: 7 }],
    published: [{ topic: 'thing.told', data: { n: 7 } }],
  });
});

test('what a step publishes about a workflow has that as its ordering key, also what a timer holds', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 }, { subject: refOf('workflows', 'WF-2', 'letters', 'L1') });
    step.publish(told, { n: 3 }, { after: '1h', timer: 'later' });
  });
  await bench.deliver(event('E1'));
  expect(bench.published(told).map(({ orderingKey }) => orderingKey)).toEqual([wf, 'workflows/WF-2']);
  expect((await bench.timers()).map(({ message }) => message.orderingKey)).toEqual([wf]);
});

test('nothing that a failed step did is committed', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
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
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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

test('eight events that change one document at once all count: what moved is read again', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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
  await using bench = await EndpointBench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 });
  });
  await bench.deliver(event('E1'));
  await using other = await EndpointBench.with(async (_event, step) => {
    step.publish(told, { n: 1 });
    step.publish(told, { n: 2 });
  });
  await other.deliver(event('E1'));
  ids.push(...[...bench.published(told), ...other.published(told)].map(({ attributes }) => attributes['ce-id']!));
  expect(ids.slice(0, 2)).toEqual(ids.slice(2));
  expect(new Set(ids).size).toBe(2);
});

test('publishing to a topic that the system does not declare is dead-lettered, and stops no timer of others', async () => {
  const nowhere = topic('not.declared', { schema: z.object({}) });
  await using bench = await EndpointBench.with(async ({ data }, step) => {
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
  const documents = await bench.deadLetters();
  expect(documents.map(({ data }) => data!.code)).toEqual(['topic.undeclared', 'topic.undeclared']);
  expect((await bench.timers()).map(({ name }) => name)).toEqual(['good']);
});

test('what a handler does to the data it was given does not change what the log says was there before', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
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
  await using bench = await EndpointBench.with(async (_event, step) => {
    const [first] = await Promise.all([step.document(notes, 'a'), step.document(notes, 'a')]);
    if (++runs === 1) {
      await bench.write(first.ref, { text: 'another' });
    }
    (await step.workflow(thing)).update({ n: runs });
  });
  await bench.deliver(event('E1'));
  expect([runs, await bench.read(wf)]).toEqual([2, { n: 2 }]);
});

test.each([
  { of: 'data', data: { n: 1, text: 'x'.repeat(10_000_000) }, subject: wf, told: 'put them into a file' },
  { of: 'a subject', data: { n: 1 }, subject: `${wf}/notes/${'x'.repeat(1_024)}`, told: 'its attribute ce-subject' },
])(
  'what is larger than any broker takes, by its $of, is refused when it is published',
  async ({ data, subject, told }) => {
    const large = topic('thing.told', { schema: z.looseObject({ n: z.number() }) });
    let refused: unknown;
    await using bench = await EndpointBench.with(async (_event, step) => {
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
