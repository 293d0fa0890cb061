import { createConsole, Tokens } from '@dormouse/console';
import { command, everyTenant, refOf, systemClock, systemRandom, workflows } from '@dormouse/core';
import { expect, test } from 'vitest';
import { LocalStores } from './local-stores.ts';

const poke = command({
  name: 'poke',
  route: 'POST /api/workflows/:id/poke',
  parse: ({ params }) => ({ id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  run: async () => ({}),
});

async function open() {
  const stores = LocalStores.inMemory();
  const blobs = { put: async () => {}, get: async () => new Uint8Array() };
  const ports = { store: stores.store, blobs, clock: systemClock, random: systemRandom };
  const tokens = new Tokens(ports);
  const app = createConsole({
    ...ports,
    system: 'test',
    log: { info() {}, warn() {}, error() {} },
    commands: [poke],
    tokens,
    onRevoked: () => {},
    answersTo: () => true,
    stopping: new AbortController().signal,
    services: () => [],
    topics: () => [],
    pause: async () => false,
    undeclared: { move: async () => ({ messages: 0 }), forget: async () => ({ messages: 0 }) },
    watch: () => () => {},
    mounts: new Map(),
  });
  const { text } = await tokens.create({ tenant: everyTenant, role: 'admin' }, 'test');
  return { app, stores, authorization: `Bearer ${text}` };
}

test('what is served is what is described: no route is left out of either', async () => {
  const { app, stores } = await open();
  const { paths } = (await (await app.request('/openapi.json')).json()) as { paths: Record<string, object> };
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  const served = app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`);
  expect(described.toSorted()).toEqual([...new Set(served)].toSorted());
  expect(described).toContain('POST /api/workflows/:id/poke');
  await stores[Symbol.asyncDispose]();
});

test('a command that declares no role is an operator’s', async () => {
  const { app, stores } = await open();
  const { paths } = (await (await app.request('/openapi.json')).json()) as {
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  expect(paths['/api/workflows/{id}/poke']!.post).toMatchObject({ 'x-dormouse-access': 'operator' });
  await stores[Symbol.asyncDispose]();
});

test('it is not ready while its store does not answer, and says so', async () => {
  const { app, stores } = await open();
  expect((await app.request('/readyz')).status).toBe(200);
  await stores[Symbol.asyncDispose]();
  const response = await app.request('/readyz');
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ reasons: [expect.stringMatching(/^the state store does not answer/)] });
  expect((await app.request('/healthz')).status).toBe(200);
});
