// A message that waits for its time, is set anew, or is cancelled.
import { createEndpoint, on, service } from '@dormouse/core';
import { expect, test } from 'vitest';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { asked, taker } from './thing.ts';

test('a timer fires once, and its event consumes it', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '30d', timer: 'reminder' });
    else (await step.workflow(thing)).update({ seen: step.now });
  });
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  expect(timer).toMatchObject({ name: 'reminder', dueAt: bench.clock.now() + 30 * 86_400_000 });
  bench.clock.advance(30 * 86_400_000);
  await bench.fireDue();
  expect(await bench.stores.store.due(bench.clock.now(), 10)).toEqual([]);
  const [fired] = bench.published(asked);
  await bench.deliver(fired!);
  expect(await bench.read(wf)).toMatchObject({ seen: bench.clock.now() });
  expect(await bench.timers()).toEqual([]);
});

test('the message of a timer that was cancelled or replaced meanwhile does nothing', async () => {
  let fired = 0;
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 2) await step.cancelTimer('reminder');
    else fired++;
  });
  await bench.deliver(event('E1', { n: 1 }));
  const [first] = await bench.timers();
  await bench.deliver(event('E2', { n: 1 }));
  const [second] = await bench.timers();
  await bench.deliver(first!.message);
  expect(fired).toBe(0);
  await bench.deliver(event('E3', { n: 2 }));
  await bench.deliver(second!.message);
  expect(fired).toBe(0);
});

test('so does a retry of it, though its first run came before that', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 2) await step.cancelTimer('reminder');
    else {
      runs++;
      throw new Error('down');
    }
  });
  await bench.deliver(event('E1', { n: 1 }));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  await bench.deliver(event('E2', { n: 2 }));
  const { attributes } = timer!.message;
  await bench.deliver({
    ...timer!.message,
    attributes: { ...attributes, 'dormouse-to': taker, 'dormouse-attempt': '2' },
  });
  expect(runs).toBe(1);
});

test('a timer that one step cancels twice is cancelled once, as its log says', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    (await step.workflow(thing)).update({ n: data.n });
    if (data.n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'reminder' });
    else for (const _ of ['once', 'again']) await step.cancelTimer('reminder');
  });
  for (const n of [1, 2]) await bench.deliver(event(`E${n}`, { n }));
  expect(await bench.timers()).toEqual([]);
  const entries = await Array.fromAsync(bench.stores.store.log({ workflow: wf }));
  const cancelled = entries.flatMap(({ kind, entry }) => (kind === 'log' ? entry.cancelledTimers : []));
  expect(cancelled).toEqual(['reminder']);
});

test('a handler that sets its own timer anew keeps it', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    step.publish(asked, { n: data.n + 1 }, { after: '1h', timer: 'reminder' });
  });
  await bench.deliver(event('E1'));
  const [first] = await bench.timers();
  await bench.deliver(first!.message);
  const after = await bench.timers();
  expect(after).toHaveLength(1);
  expect(after[0]!.generation).not.toBe(first!.generation);
});

test('a retry whose timer was cancelled since ends without a run, and leaves nothing that waits for one', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
    else if (data.n === 3) await step.cancelTimer('reminder');
    else {
      runs++;
      throw new Error('broken');
    }
  });
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  const retry = (await bench.timers()).find(({ name }) => name.startsWith('retry'));
  await bench.deliver(event('E2', { n: 3 }));
  await bench.deliver(retry!.message);
  expect(runs).toBe(1);
  const inbox = bench.stores.database.prepare("SELECT data ->> 'state' FROM document WHERE collection = 'inbox'");
  inbox.setReturnArrays(true);
  expect(inbox.all().flat()).toEqual(['settled', 'settled', 'settled']);
});

test('the event of a timer reaches every subscription of its topic', async () => {
  const seen: string[] = [];
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
    else seen.push('first');
  });
  const second = createEndpoint(service('other', [on(asked, async () => void seen.push('second'))]), bench.ports);
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  await second.deliver({
    subscription: 'other.thing.asked',
    message: timer!.message,
    messageId: '2',
    publishTime: '2026-01-01T00:00:00Z',
  });
  expect(seen).toEqual(['first', 'second']);
});
