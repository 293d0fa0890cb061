// Real: HTTP on this machine, with faults to order.
import { PubsubClient, systemClock, systemRandom } from '@dormouse/core';
import { GoogleRest, type GoogleRestOptions, pubsubOver } from '@dormouse/gcp';
import { expect, test } from 'vitest';
import { ApiServer } from './google/api-server.ts';
import type { SeenRequest } from './google/ordered-faults.ts';
import { ManualClock } from './manual-clock.ts';
import { until } from './until.ts';

async function open(options: Partial<GoogleRestOptions> = {}) {
  const seen: SeenRequest[] = [];
  const api = await new ApiServer(async (request) => {
    seen.push(request);
    return { json: { done: seen.length } };
  }).listen();
  const rest = new GoogleRest({ url: api.url, clock: systemClock, random: systemRandom, ...options });
  return {
    seen,
    api,
    rest,
    faults: api.faults,
    async [Symbol.asyncDispose]() {
      rest.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

const ask = { method: 'POST', path: '/v1/things', json: { name: 'Größe' } } as const;

test('JSON goes and comes, with the token', async () => {
  await using google = await open({ token: async () => 'ya29.x' });
  expect(await google.rest.json(ask)).toEqual({ done: 1 });
  const { method, path, headers, body } = google.seen[0]!;
  expect([method, path, JSON.parse(body.toString())]).toEqual(['POST', '/v1/things', { name: 'Größe' }]);
  expect(headers).toMatchObject({ authorization: 'Bearer ya29.x', 'content-type': 'application/json' });
});

test('what Google refuses is told by its status and message, and asked once', async () => {
  await using google = await open();
  const error = { code: 400, status: 'FAILED_PRECONDITION', message: 'the base version is not current' };
  for (const body of [{ error }, [{ error }]]) {
    google.faults.order({ mishap: { status: 400, body } });
    await expect(google.rest.json(ask)).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: 'FAILED_PRECONDITION: the base version is not current',
    });
  }
  google.faults.order({ mishap: { status: 412, body: { error: { code: 412, message: 'no name' } } } });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
  expect(google.seen).toEqual([]);
});

test('what is no answer of Google’s is told as it is', async () => {
  await using google = await open({ token: async () => 'two\nlines' });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ code: 'ERR_INVALID_CHAR' });
});

test.each([{ status: 429 }, { status: 500 }, { status: 503 }, { status: 504 }, 'dropped', 'answer lost'] as const)(
  'after %j it is asked again',
  async (mishap) => {
    await using google = await open();
    google.faults.order({ mishap, times: 3 });
    await google.rest.json(ask);
    expect(google.seen).toHaveLength(mishap === 'answer lost' ? 4 : 1);
  },
);

test('five times, and then it has failed', async () => {
  await using google = await open();
  const outage = google.faults.order({ mishap: { status: 503 }, times: Infinity });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ status: 'UNAVAILABLE', facts: { isRepeat: true } });
  expect(outage.struck).toBe(5);
});

test('what is to be sent once is sent once', async () => {
  await using google = await open();
  const lost = google.faults.order({ mishap: 'answer lost', times: Infinity });
  await expect(google.rest.json({ ...ask, once: true })).rejects.toMatchObject({ facts: { mayHaveHappened: true } });
  expect(lost.struck).toBe(1);
});

test('it waits as long as it is asked to, and not where that is too long', async () => {
  const clock = new ManualClock();
  await using google = await open({ clock });
  const asked = google.faults.order({ mishap: { status: 429, headers: { 'retry-after': '7' } } });
  const answer = google.rest.json(ask);
  await until('the first try', () => asked.struck === 1 && clock.next !== undefined);
  expect(clock.next! - clock.now()).toBe(7_000);
  clock.advance(7_000);
  expect(await answer).toEqual({ done: 1 });
  google.faults.order({ mishap: { status: 503, headers: { 'retry-after': '3600' } } });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ status: 'UNAVAILABLE' });
});

test('a wait may be asked for by a date', async () => {
  const clock = new ManualClock();
  await using google = await open({ clock });
  const date = new Date(clock.now() + 12_000).toUTCString();
  const asked = google.faults.order({ mishap: { status: 503, headers: { 'retry-after': date } } });
  const answer = google.rest.json(ask);
  await until('the first try', () => asked.struck === 1 && clock.next !== undefined);
  expect(clock.next! - clock.now()).toBe(12_000);
  clock.advance(12_000);
  await answer;
});

test('where nobody listens it says where, and that nothing can have happened', async () => {
  await using google = await open();
  const { url } = google.api;
  await google.api[Symbol.asyncDispose]();
  const rest = new GoogleRest({ url, clock: systemClock, random: systemRandom });
  await expect(rest.json(ask)).rejects.toMatchObject({
    status: 'UNAVAILABLE',
    message: expect.stringContaining(new URL(url).host),
    facts: { code: 0, mayHaveHappened: false },
  });
});

test('an answer that does not come is waited for as long as was said', async () => {
  await using google = await open({ timeoutMs: 100 });
  google.faults.order({ delayMs: 2_000 });
  expect(await google.rest.json(ask)).toEqual({ done: expect.any(Number) });
});

test('a token that is refused is replaced once, and then it is an error', async () => {
  const refused: (string | undefined)[] = [];
  const token = async (bad?: string) => {
    refused.push(bad);
    return `token-${refused.length}`;
  };
  await using google = await open({ token });
  google.faults.order({ mishap: { status: 401 } });
  await google.rest.json(ask);
  expect(refused).toEqual([undefined, 'token-1']);
  expect(google.seen[0]!.headers.authorization).toBe('Bearer token-2');
  google.faults.order({ mishap: { status: 401 }, times: 2 });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ status: 'UNAUTHENTICATED' });
});

test('what answers in the place of Google is no answer of Google’s', async () => {
  await using google = await open();
  google.faults.order({ mishap: { status: 403, body: '<html>Forbidden</html>' } });
  await expect(google.rest.json(ask)).rejects.toMatchObject({ status: 'PERMISSION_DENIED' });
});

test('Pub/Sub’s client works over it, and tells what is refused', async () => {
  const api = await new ApiServer(async ({ body }) => ({
    json: { messageIds: JSON.parse(body.toString()).messages.map((_: unknown, n: number) => `${n}`) },
  })).listen();
  const rest = new GoogleRest({ url: api.url, clock: systemClock, random: systemRandom });
  const client = new PubsubClient(pubsubOver(rest), 'test');
  api.faults.order({ mishap: { status: 503 }, times: 2 });
  expect(await client.publish('news', [{ attributes: {}, data: '' }])).toEqual(['0']);
  api.faults.order({
    mishap: { status: 403, body: { error: { code: 403, message: 'no leave', status: 'PERMISSION_DENIED' } } },
  });
  await expect(client.publish('news', [])).rejects.toThrow('403 PERMISSION_DENIED: no leave');
  rest.close();
  await api[Symbol.asyncDispose]();
});
