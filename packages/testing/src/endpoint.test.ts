// What a push is answered, and which of them reach the handler.
import { expect, test } from 'vitest';
import { EndpointBench, event } from './endpoint-bench.ts';

test('a push without a good token is refused and changes nothing', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async () => void runs++);
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
  await using bench = await EndpointBench.with(async () => {});
  const request = new Request('http://x/pubsub-push', {
    method,
    headers: { authorization: 'Bearer good' },
    ...(body !== undefined && { body }),
  });
  expect((await bench.fetch(request)).status).toBe(status);
});

test('a message addressed to another subscription is let pass', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async () => void runs++);
  const message = event('E1');
  await bench.deliver({ ...message, attributes: { ...message.attributes, 'dormouse-to': 'other.thing.asked' } });
  expect(runs).toBe(0);
  expect(await bench.entries()).toEqual([]);
});

test('data that does not fit the schema is dead-lettered without a run, and the cause names the field', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async () => void runs++);
  await bench.deliver(event('E1', { n: 'seven' }));
  expect(runs).toBe(0);
  const documents = await bench.deadLetters();
  expect(documents[0]!.data).toMatchObject({ code: 'event.invalid', cause: expect.stringContaining('n: ') });
});

test('an event of a newer schema version waits for newer code', async () => {
  await using bench = await EndpointBench.with(async () => {}, { retry: { attempts: 1 } });
  await bench.deliver(event('E1', { n: 1, extra: true }, { dataschema: 'thing.asked/2' }));
  expect(await bench.timers()).toHaveLength(1);
  expect(await bench.deadLetters()).toEqual([]);
});
