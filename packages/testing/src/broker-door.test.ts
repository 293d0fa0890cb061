import { createRestApi } from '@dormouse/broker';
import { expect, test } from 'vitest';
import { LocalStores } from './local-stores.ts';

// There is no token on loopback, so what a web page can send must not pass.
test.each([
  ['a page elsewhere', { host: '127.0.0.1', 'content-type': 'application/json', origin: 'https://evil.example' }],
  ['a form', { host: '127.0.0.1', 'content-type': 'text/plain' }],
  ['a name that was rebound', { host: 'evil.example', 'content-type': 'application/json' }],
])('%s cannot reach the broker', async (_what, headers) => {
  await using stores = LocalStores.inMemory();
  const api = createRestApi(stores.broker);
  const url = '/v1/projects/p/topics/news';
  expect(await api({ method: 'PUT', url, headers, body: Buffer.from('{}') })).toMatchObject({ status: 400 });
  expect(stores.broker.topics).toEqual([]);
});
