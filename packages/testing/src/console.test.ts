// Real: the console's routes over a real store; what watches a workflow is counted.
import { createConsole, Tokens } from '@dormouse/console';
import {
  command,
  type Ref,
  refOf,
  type StepPorts,
  systemClock,
  systemRandom,
  workflow,
  workflowId,
  workflows,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import { LocalStores } from './local-stores.ts';
import { servicePorts } from './service-ports.ts';

const note = workflow<{ id: string; said: unknown }>({ idPrefix: 'NO' });

/** Keeps whatever a client says, also what looks like a reference to a file. */
const take = command<unknown, { id: string }>({
  name: 'take',
  route: 'POST /api/notes',
  role: 'client',
  creates: true,
  parse: ({ body }) => JSON.parse(body),
  subject: (_said, { now, random }) => ({ ref: refOf(workflows, workflowId('NO', now, random)) }),
  async run(said, step) {
    const taken = await step.workflow(note);
    const file = await step.files.put('own.json', JSON.stringify(said));
    taken.create({ id: taken.id, said: { said, file } });
    return { id: taken.id };
  },
});

/** A console, and who asks it: clients of tenants. */
class Desk implements AsyncDisposable {
  readonly stores = LocalStores.inMemory();
  readonly watched = new Set<object>();
  readonly log: unknown[] = [];
  readonly #ports: StepPorts;
  readonly tokens: Tokens;
  readonly #app: ReturnType<typeof createConsole>;

  constructor() {
    this.#ports = { ...servicePorts(this.stores.store, systemClock), random: systemRandom };
    this.tokens = new Tokens(this.#ports);
    this.#app = createConsole({
      ...this.#ports,
      system: 'test',
      log: { info() {}, warn() {}, error: (...told) => void this.log.push(told) },
      commands: [take],
      tokens: this.tokens,
      onRevoked: () => {},
      answersTo: () => true,
      stopping: new AbortController().signal,
      services: () => [],
      topics: () => [],
      pause: async () => false,
      erasure: { erase: async () => ({ workflows: [] }) },
      undeclared: { move: async () => ({ messages: 0 }), forget: async () => ({ messages: 0 }) },
      watch: (workflow: Ref) => {
        const watching = { workflow };
        this.watched.add(watching);
        return () => void this.watched.delete(watching);
      },
      mounts: new Map(),
    });
  }

  /** A client of a tenant, by what it asks with. */
  async client(tenant: string): Promise<(method: string, path: string, body?: unknown) => Promise<Response>> {
    const { text } = await this.tokens.create({ tenant, role: 'client' }, 'test');
    return async (method, path, body) => {
      const headers = { authorization: `Bearer ${text}`, accept: 'text/event-stream' };
      const sent = body === undefined ? {} : { body: JSON.stringify(body) };
      return this.#app.fetch(new Request(`http://localhost${path}`, { method, headers, ...sent }));
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
  }
}

async function json<T>(answer: Promise<Response>): Promise<T> {
  return (await (await answer).json()) as T;
}

test('whoever asks only for the head of a live stream leaves nothing behind', async () => {
  await using desk = new Desk();
  const anna = await desk.client('acme');
  const { id } = await json<{ id: string }>(anna('POST', '/api/notes', 'hello'));
  const head = await anna('HEAD', `/api/workflows/${id}/events`);
  expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  expect(desk.watched.size).toBe(0);
  // The same for one who listens, and goes.
  const stream = await anna('GET', `/api/workflows/${id}/events`);
  expect(desk.watched.size).toBe(1);
  await stream.body!.cancel();
  await expect.poll(() => desk.watched.size).toBe(0);
});

test('a live stream that fails ends, and the log tells why', async () => {
  await using desk = new Desk();
  const anna = await desk.client('acme');
  const { id } = await json<{ id: string }>(anna('POST', '/api/notes', 'hello'));
  desk.stores.database.prepare('ALTER TABLE entry RENAME TO lost').run();
  const stream = await anna('GET', `/api/workflows/${id}/events`);
  expect(await stream.text()).toBe('');
  const told = { path: `/api/workflows/${id}/events`, cause: expect.stringContaining('no such table') };
  expect(desk.log).toEqual([['request.failed', told]]);
  expect(desk.watched.size).toBe(0);
});

test('a token that two revoke at once is revoked, once', async () => {
  await using desk = new Desk();
  const { token } = await desk.tokens.create({ tenant: 'acme', role: 'client' }, 'test');
  const revoke = (name: string) => desk.tokens.revoke(token.id, { name, role: 'admin', tenant: 'acme' });
  const [one, other] = await Promise.all([revoke('anna'), revoke('bert')]);
  expect(one).toMatchObject({ revokedBy: 'anna' });
  expect(other).toEqual(one);
});

test('a reference to a file of another tenant, in what a client says, opens nothing', async () => {
  await using desk = new Desk();
  const [anna, bert] = [await desk.client('acme'), await desk.client('bolt')];
  const hers = await json<{ id: string }>(anna('POST', '/api/notes', 'a secret'));
  const { files } = await json<{ files: object[] }>(anna('GET', `/api/workflows/${hers.id}/files`));
  const his = await json<{ id: string }>(bert('POST', '/api/notes', { ...files[0], name: 'hers.json' }));
  expect((await bert('GET', `/api/workflows/${his.id}/files/hers.json`)).status).toBe(404);
  expect(await json(bert('GET', `/api/workflows/${his.id}/files`))).toMatchObject({ files: [{ name: 'own.json' }] });
});
