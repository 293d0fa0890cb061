import { createRestApi } from '@dormouse/broker';
import { expect, test } from 'vitest';
import { LocalStores } from './local-stores.ts';

// There is no token on loopback, so what a web page can send must not pass.
test.each([
  [
    'a page elsewhere',
    'http://127.0.0.1/v1/projects/p/topics/news',
    { 'content-type': 'application/json', origin: 'https://evil.example' },
  ],
  ['a form', 'http://127.0.0.1/v1/projects/p/topics/news', { 'content-type': 'text/plain' }],
  ['a name that was rebound', 'http://evil.example/v1/projects/p/topics/news', { 'content-type': 'application/json' }],
])('%s cannot reach the broker', async (_what, url, headers) => {
  await using stores = LocalStores.inMemory();
  const handle = createRestApi(stores.broker);
  const response = await handle(new Request(url, { method: 'PUT', headers, body: '{}' }));
  expect(response.status).toBe(400);
  expect(stores.broker.topics).toEqual([]);
});
