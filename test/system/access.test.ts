// Real: every route of a running system, as its own description lists them, with every kind of token.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

type Access = 'anyone' | 'client' | 'operator' | 'admin' | 'house';
interface Operation {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly access: Access;
}
interface Made {
  readonly id: string;
  readonly token: string;
}

let system: RunningSystem;
let operations: Operation[];
const acme: Record<string, Made> = {};
let bolt: Made;
let expired: Made;
let revoked: Made;
/** Of acme: a case that waits for its answer, and a dead letter. */
let waiting: string;
let letter: string;

beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
  for (const role of ['client', 'operator', 'admin']) acme[role] = await makeToken({ tenant: 'acme', role });
  bolt = await makeToken({ tenant: 'bolt', role: 'admin' });
  expired = await makeToken({ tenant: 'acme', role: 'admin', expires: '1s' });
  revoked = await makeToken({ tenant: 'acme', role: 'admin' });
  expect((await as(acme.admin!.token, 'POST', `/api/tokens/${revoked.id}/revoke`)).status).toBe(200);

  const fault = { target: 'sms', mode: 'status', status: 400 };
  await fetch(`${system.url}/sandbox/faults`, { method: 'PUT', body: JSON.stringify(fault) });
  const silent = caseRequest({
    statement: { inline: smallStatement('Silent & Sons') },
    sandbox: { replies: { 'Silent & Sons': 'silent' } },
  });
  const opened = await as(acme.client!.token, 'POST', '/api/workflows/create', silent);
  waiting = ((await opened.json()) as { workflowId: string }).workflowId;
  await system.reaches(waiting, 'tracking');
  letter = await until('a dead letter', async () => {
    const { deadLetters } = await system.get<{ deadLetters: { id: string }[] }>('/api/dead-letters');
    return deadLetters[0]?.id;
  });
  await fetch(`${system.url}/sandbox/faults`, { method: 'DELETE' });
  await until('the token has expired', async () => (await as(expired.token, 'GET', '/api/workflows')).status === 401);

  const { paths } = await system.get<{ paths: Record<string, Record<string, Record<string, string>>> }>(
    '/openapi.json',
  );
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: operation.operationId!,
      method: method.toUpperCase(),
      path,
      access: operation['x-dormouse-access'] as Access,
    })),
  );
});
afterAll(() => system?.destroy());

async function makeToken(wanted: object): Promise<Made> {
  const response = await as(system.host.token, 'POST', '/api/tokens', wanted);
  if (response.status !== 201) throw new Error(await response.text());
  return (await response.json()) as Made;
}

function as(token: string | undefined, method: string, path: string, body?: unknown, headers = {}): Promise<Response> {
  const authorization = token === undefined ? undefined : { authorization: `Bearer ${token}` };
  const sent = method === 'POST' ? { body: JSON.stringify(body ?? {}) } : {};
  return fetch(system.url + path, { method, headers: { ...authorization, ...headers }, ...sent });
}

/** What fits the operations that look at what they are given before they look for what it is about. */
const bodies: Record<string, unknown> = {
  create: caseRequest(),
  createToken: { role: 'client' },
};

/** A request that would do something, for who may. */
function request(
  { name, path }: Operation,
  ids: { workflow: string; deadLetter: string; token: string; client: string },
): [string, unknown] {
  const byKind: Record<string, string> = {
    workflows: ids.workflow,
    'dead-letters': ids.deadLetter,
    tokens: ids.token,
    clients: ids.client,
  };
  const id = byKind[path.split('/')[2]!] ?? '';
  const filled = path
    .replace('{id}', id)
    .replace('{collection}', 'letters')
    .replace('{entry}', '1')
    .replace('{to}', 'tracking.workflow.track')
    .replace('{name}', path.startsWith('/api/subscriptions') ? 'intake.workflow.initiate' : 'request.json');
  expect(filled).not.toMatch(/[{}]/);
  return [filled, bodies[name] ?? { reason: 'for a reason', accept: true, decision: 'close' }];
}

/** Of the case that waits. */
const client = caseRequest().clientId as string;
const existing = () => ({ workflow: waiting, deadLetter: letter, token: acme.client!.id, client });
const missing = { workflow: 'WF-20250129-7K3QXM', deadLetter: 'NONE', token: 'NONE', client: 'NONE' };

/** All that could be told of acme. */
function traces(text: string): string[] {
  const own = [waiting, letter, 'acme', ...Object.values(acme).map(({ id }) => id), revoked.id, 'Silent'];
  return own.filter((each) => text.includes(each));
}

async function unchanged(): Promise<void> {
  expect(await system.statusOf(waiting)).toBe('tracking');
  expect(await system.get(`/api/dead-letters/${letter}`)).toMatchObject({ state: 'open' });
  expect((await as(acme.client!.token, 'GET', '/api/workflows')).status).toBe(200);
  const { topics } = await system.get<{ topics: { subscriptions: { paused: boolean }[] }[] }>('/api/topics');
  expect(topics.flatMap(({ subscriptions }) => subscriptions).some(({ paused }) => paused)).toBe(false);
}

test('a token is asked for by every route but those that need none', () => {
  const open = operations.filter(({ access }) => access === 'anyone').map(({ name }) => name);
  expect(open.toSorted()).toEqual(['describe', 'health', 'readiness', 'respond']);
  expect(operations.length).toBeGreaterThan(15);
});

test('without a good token no route tells or does anything', async () => {
  const { token } = acme.admin!;
  const [, id, secret] = token.split(/^dm_([^_]+)_/) as [string, string, string];
  const other = secret.startsWith('A') ? `B${secret.slice(1)}` : `A${secret.slice(1)}`;
  const credentials = [
    undefined,
    '',
    'Bearer',
    'Bearer wrong',
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    `Bearer dm_${id}_${other}`,
    `Bearer dm_${bolt.id}_${secret}`,
    `Basic ${btoa(`:${token}`)}`,
    token,
    `Bearer ${expired.token}`,
    `Bearer ${revoked.token}`,
  ];
  for (const operation of operations.filter(({ access }) => access !== 'anyone')) {
    const [path, body] = request(operation, existing());
    for (const authorization of credentials) {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await as(undefined, operation.method, path, body, headers);
      expect({ ...operation, authorization, status: response.status }).toMatchObject({ status: 401 });
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      const text = await response.text();
      expect(traces(text.replaceAll(path, ''))).toEqual([]);
    }
  }
  expect((await as(undefined, 'GET', '/api/nothing')).status).toBe(401);
  await unchanged();
});

test('who holds the secret is told that it expired or was revoked', async () => {
  const details = await Promise.all(
    [expired, revoked].map(
      async ({ token }) => ((await (await as(token, 'GET', '/api/workflows')).json()) as { detail: string }).detail,
    ),
  );
  expect(details).toEqual([expect.stringMatching(/expired at \d{4}-/), 'the token was revoked']);
});

test('to another tenant’s token, what is not its own is what does not exist, on every route', async () => {
  for (const operation of operations.filter(({ access }) => access !== 'anyone')) {
    const [path, body] = request(operation, existing());
    const response = await as(bolt.token, operation.method, path, body);
    const text = await response.text();
    if (operation.access === 'house') expect({ ...operation, status: response.status }).toMatchObject({ status: 403 });
    else if (path === operation.path) {
      // Lists, and what makes its own.
      expect({ ...operation, ok: response.ok }).toMatchObject({ ok: true });
      expect({ ...operation, traces: traces(text) }).toMatchObject({ traces: [] });
    } else {
      const [none] = request(operation, missing);
      const answer = await as(bolt.token, operation.method, none, body);
      const mask = (told: string) =>
        told
          .replaceAll(/WF-\d{8}-\w+|NONE/g, 'ID')
          .replaceAll(letter, 'ID')
          .replaceAll(acme.client!.id, 'ID')
          .replaceAll(client, 'ID');
      expect({ ...operation, status: response.status, text: mask(text) }).toEqual({
        ...operation,
        status: 404,
        text: mask(await answer.text()),
      });
    }
  }
  const stream = await as(bolt.token, 'GET', `/api/workflows/${waiting}/events`, undefined, {
    accept: 'text/event-stream',
  });
  expect(stream.status).toBe(404);
  await unchanged();
});

test('a tenant’s token cannot act for another by Dormouse-Tenant; the house’s can, and then sees no other', async () => {
  for (const { method, path, access } of operations.filter(
    ({ path, access }) => access === 'client' && !path.includes('{'),
  )) {
    const response = await as(bolt.token, method, path, {}, { 'dormouse-tenant': 'acme' });
    expect({ path, access, status: response.status }).toEqual({ path, access, status: 403 });
  }
  const seen = async (tenant: string) => {
    const response = await as(system.host.token, 'GET', '/api/workflows', undefined, { 'dormouse-tenant': tenant });
    return ((await response.json()) as { workflows: { id: string }[] }).workflows.map(({ id }) => id);
  };
  expect(await seen('acme')).toEqual([waiting]);
  expect(await seen('other')).toEqual([]);
  const bad = await as(system.host.token, 'GET', '/api/workflows', undefined, { 'dormouse-tenant': 'No Tenant' });
  expect(bad.status).toBe(400);
  const forOther = await as(system.host.token, 'GET', `/api/workflows/${waiting}`, undefined, {
    'dormouse-tenant': 'other',
  });
  expect(forOther.status).toBe(404);
});

test('each role may what its routes say, and no more', async () => {
  const ranks = ['client', 'operator', 'admin'];
  for (const operation of operations.filter(({ access }) => access !== 'anyone')) {
    for (const role of ranks) {
      const enough = operation.access !== 'house' && ranks.indexOf(role) >= ranks.indexOf(operation.access);
      // Who may is shown something that is not there, so that nothing is done.
      const [path, body] = request(operation, enough ? missing : existing());
      if (enough && path === operation.path && operation.method === 'POST') continue;
      const { status } = await as(acme[role]!.token, operation.method, path, body);
      expect({ ...operation, role, refused: status === 403 }).toEqual({ ...operation, role, refused: !enough });
    }
  }
  await unchanged();
  const byName = Object.fromEntries(operations.map(({ name, access }) => [name, access]));
  expect(byName).toMatchObject({
    create: 'client',
    cancel: 'client',
    getWorkflow: 'client',
    redriveDeadLetter: 'operator',
    discardDeadLetter: 'operator',
    listDeadLetters: 'operator',
    createToken: 'admin',
    revokeToken: 'admin',
    eraseClient: 'admin',
    listServices: 'house',
    listTopics: 'house',
    pauseSubscription: 'house',
  });
});

test('what failed on the way, and why, is shown to operators, not to clients', async () => {
  const history = async (role: string) => {
    const events = await (await as(acme[role]!.token, 'GET', `/api/workflows/${waiting}/events`)).text();
    const trace = await (await as(acme[role]!.token, 'GET', `/api/workflows/${waiting}/trace`)).text();
    return [events, trace].map((text) => text.includes('SMS gateway'));
  };
  expect(await history('operator')).toEqual([true, true]);
  expect(await history('client')).toEqual([false, false]);
});

test('an admin gives tokens of his own tenant only, and the house’s only the house gives', async () => {
  const own = await as(bolt.token, 'POST', '/api/tokens', { role: 'operator', name: 'desk' });
  expect(await own.json()).toMatchObject({
    tenant: 'bolt',
    role: 'operator',
    name: 'desk',
    token: expect.stringMatching(/^dm_/),
  });
  for (const tenant of ['acme', '*', 'default']) {
    expect((await as(bolt.token, 'POST', '/api/tokens', { tenant, role: 'admin' })).status).toBe(403);
  }
  for (const wanted of [
    { tenant: '*', role: 'operator' },
    { tenant: 'No', role: 'client' },
    { role: 'king' },
    { role: 'client', expires: 'soon' },
    { role: 'client', expires: '-1d' },
    {},
  ]) {
    const response = await as(system.host.token, 'POST', '/api/tokens', wanted);
    expect({ wanted, status: response.status }).toEqual({ wanted, status: 400 });
    expect(((await response.json()) as { problems: unknown[] }).problems).toHaveLength(1);
  }
  const listed = await (await as(bolt.token, 'GET', '/api/tokens')).text();
  expect(listed).not.toMatch(/hash|dm_/);
});

test('a stream ends when its token is revoked', async () => {
  const made = await makeToken({ tenant: 'acme', role: 'client' });
  const path = `/api/workflows/${waiting}/events`;
  const stream = await as(made.token, 'GET', path, undefined, { accept: 'text/event-stream' });
  const reader = stream.body!.getReader();
  await reader.read();
  expect((await as(system.host.token, 'POST', `/api/tokens/${made.id}/revoke`)).status).toBe(200);
  await until('the stream has ended', async () => (await reader.read()).done);
});

test('a case of a tenant runs to its end as one of the default does', async () => {
  const opened = await as(acme.client!.token, 'POST', '/api/workflows/create', caseRequest());
  const { workflowId } = (await opened.json()) as { workflowId: string };
  await system.reaches(workflowId, 'closed');
  const letters = await as(acme.client!.token, 'GET', `/api/workflows/${workflowId}/documents/letters`);
  expect(((await letters.json()) as { documents: unknown[] }).documents).toHaveLength(4);
});
