// Real: Google's emulators, our broker, service processes started from the folders of their images.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describeSystem, type Manifest } from '@dormouse/local';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { makeImageFolders } from '../../deploy/image-folder.ts';
import { startImage } from '../../deploy/image-process.ts';
import { FaultProxy } from '../../packages/testing/src/fault-proxy.ts';
import { skipWithout } from '../../packages/testing/src/google-emulator.ts';
import { dormouse } from '../system/program.ts';
import { SmallSystem } from '../system/small-system.ts';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { until } from '../system/until.ts';
import { Engines, enginesMissing } from './engines.ts';
import { GoogleSystem, type GoogleSystemOptions, type Wire } from './google-system.ts';

const folder = temporaryFolder();
const missing = enginesMissing();

interface Built {
  readonly manifest: Manifest;
  readonly images: string;
}

async function build(systemFile: string, name: string): Promise<Built> {
  const images = join(folder, name);
  await makeImageFolders({ systemFile, out: images });
  return { manifest: await describeSystem(systemFile, images), images };
}

let engines: Engines;
let tea: Built;
let small: Built;

async function start(built: Built, options: Partial<GoogleSystemOptions> & { readonly wire: Wire }) {
  const system = await GoogleSystem.start({ engines, folder, idleMs: 1_000, ...built, ...options });
  onTestFinished(() => system[Symbol.asyncDispose]());
  return system;
}

async function note(system: GoogleSystem, text: string): Promise<string> {
  const response = await system.ask('/api/notes', { method: 'POST', body: text });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

function seen(system: GoogleSystem, id: string, text: string): Promise<true> {
  const look = async () => (await system.get<{ seen?: string }>(`/api/workflows/${id}`)).seen === text;
  return system.until(`the note ${id} is seen`, look);
}

if (missing !== undefined) skipWithout('services on Google’s engines', missing, test.skip);
else {
  beforeAll(async () => {
    const sources = SmallSystem.in(folder, "scribe: './scribe.ts'");
    sources.service(
      'scribe',
      `if (text === 'slow') await step.run('wait', null, () => fetch(process.env.SLOW_URL).then(() => 'waited'));
    const found = await step.workflow(note);
    found.update({ seen: text });`,
    );
    const teaFile = join(import.meta.dirname, '../../packages/testing/tea/system.ts');
    tea = await build(teaFile, 'tea');
    small = await build(sources.systemFile, 'small');
    engines = await Engines.start();
  }, 120_000);
  afterAll(() => engines?.[Symbol.asyncDispose]());

  test.for<Wire>(['emulator', 'broker'])('a timer is a task that wakes whoever sleeps (%s)', async (wire) => {
    const system = await start(tea, { wire });
    const poured = await system.ask('/api/teas', { method: 'POST', body: JSON.stringify({ steepFor: '3s' }) });
    const { teaId } = (await poured.json()) as { teaId: string };
    await system.asleep();
    const drunk = async () => (await system.get<{ sips: number[] }>(`/api/workflows/${teaId}`)).sips.length === 1;
    await system.until('the first sip', drunk);
    // The next one is a day away.
    const { pendingTimers } = await system.get<{ pendingTimers: unknown[] }>(`/api/workflows/${teaId}/trace`);
    expect(pendingTimers).toHaveLength(1);
    await system.until('all is sent', () => system.isQuiet());
    await system.asleep();
    expect(system.cloudRun.endings.filter(({ code }) => code !== 0)).toEqual([]);
    expect(engines.tasks.waiting.some(({ at }) => at > Date.now() + 23 * 3_600_000)).toBe(true);
  });

  test('a service that is asked to stop finishes what it holds, and exits with 0', async () => {
    const asked = Promise.withResolvers<() => void>();
    const outside = createServer((_request, response) => asked.resolve(() => response.end()));
    outside.listen(0, '127.0.0.1');
    await once(outside, 'listening');
    onTestFinished(() => void outside.close());
    const environment = { SLOW_URL: `http://127.0.0.1:${(outside.address() as AddressInfo).port}` };
    const system = await start(small, { wire: 'broker', idleMs: 60_000, environment });
    const id = await note(system, 'slow');
    const release = await asked.promise;
    const [scribe] = system.cloudRun.instances('scribe');
    scribe!.end('SIGTERM');
    const refused = await system.until('it takes nothing new', () =>
      fetch(`http://127.0.0.1:${scribe!.port}/healthz`).then(
        () => false,
        () => true,
      ),
    );
    expect(refused).toBe(true);
    scribe!.process.kill('SIGTERM');
    release();
    await scribe!.exited;
    expect(system.cloudRun.endings).toMatchObject([{ service: 'scribe', code: 0, asked: 'SIGTERM' }]);
    await seen(system, id, 'slow');
    // By that run: nobody else was woken for it.
    expect(system.cloudRun.instances('scribe')).toEqual([]);
  });

  test('only who has the caller’s token pushes or ticks, and nobody too much', async () => {
    const system = await start(small, { wire: 'broker', idleMs: 60_000 });
    const { url, environment } = system.plan.services.find(({ service }) => service === 'scribe')!;
    const id = await note(system, 'hello');
    await seen(system, id, 'hello');
    // Past Cloud Run, which would let none of these in.
    const [scribe] = system.cloudRun.instances('scribe');
    const tokenOf = (claims: Record<string, unknown>) =>
      engines.metadata.sign({ aud: url, email: environment.DORMOUSE_SERVICE_ACCOUNT, ...claims });
    const post = async (path: string, claims?: Record<string, unknown>, body = '{}') => {
      const headers = claims ? { authorization: `Bearer ${await tokenOf(claims)}` } : {};
      return (await fetch(`http://127.0.0.1:${scribe!.port}${path}`, { method: 'POST', headers, body })).status;
    };
    expect(await post('/tick', {})).toBe(200);
    expect(await post('/pubsub-push', {})).toBe(400);
    for (const path of ['/tick', '/pubsub-push']) {
      expect(await post(path)).toBe(401);
      expect(await post(path, { aud: 'https://other.example' })).toBe(401);
      expect(await post(path, { email: 'other@project-1.iam.gserviceaccount.com' })).toBe(401);
      expect(await post(path, { exp: Math.floor(Date.now() / 1000) - 3600 })).toBe(401);
      expect(await post(path, {}, 'x'.repeat(15_000_001))).toBe(413);
    }
    expect(await post('/elsewhere', {})).toBe(404);

    // As Cloud Run hands over what it has checked itself. The console lets in anyone, and needs the signature.
    const checked = async (base: string, claims: Record<string, unknown>) => {
      const authorization = `Bearer ${(await tokenOf(claims)).replace(/[^.]*$/, 'SIGNATURE_REMOVED_BY_GOOGLE')}`;
      return (await fetch(`${base}/tick`, { method: 'POST', headers: { authorization }, body: '{}' })).status;
    };
    const direct = `http://127.0.0.1:${scribe!.port}`;
    expect(await checked(direct, {})).toBe(200);
    expect(await checked(direct, { aud: 'https://other.example' })).toBe(401);
    expect(await checked(direct, { iss: 'https://other.example' })).toBe(401);
    expect(await checked(direct, { email: 'other@project-1.iam.gserviceaccount.com' })).toBe(401);
    expect(await checked(direct, { email_verified: false })).toBe(401);
    expect(await checked(direct, { exp: Math.floor(Date.now() / 1000) - 3600 })).toBe(401);
    const consoleUrl = system.cloudRun.urlOf('console');
    expect(await checked(consoleUrl, { aud: consoleUrl })).toBe(401);
    const past = await fetch(`${url}/tick`, { method: 'POST', body: '{}' });
    expect(past.status).toBe(403);
  });

  test('a publish that is refused fails no request: a task has it sent a while later', async () => {
    let proxy: FaultProxy | undefined;
    const between: GoogleSystemOptions['between'] = async (engine, address) => {
      if (engine !== 'pubsub') return address;
      proxy = await FaultProxy.start(address);
      onTestFinished(() => proxy![Symbol.asyncDispose]());
      return proxy.address;
    };
    const system = await start(small, { wire: 'broker', between });
    const refused = proxy!.faults.order({
      on: ({ path }) => path.endsWith(':publish'),
      times: Number.POSITIVE_INFINITY,
      mishap: { status: 403 },
    });
    const id = await note(system, 'late');
    expect(refused.struck).toBeGreaterThan(0);
    expect(await system.isQuiet()).toBe(false);
    refused.takeBack();
    await seen(system, id, 'late');
    await system.until('nothing is left in the outbox', () => system.isQuiet());
  });

  test('what its environment lacks is told in one line, each by its name and what to set', async () => {
    const started = startImage(join(small.images, 'scribe'), { GOOGLE_CLOUD_PROJECT: 'No Project', PORT: '8080' });
    const said: string[] = [];
    for (const stream of [started.stdout!, started.stderr!]) stream.on('data', (text) => said.push(String(text)));
    const [code] = await once(started, 'exit');
    expect(code).toBe(1);
    const line = JSON.parse(said.join(''));
    expect(line).toMatchObject({ severity: 'CRITICAL', message: 'service.unstarted' });
    for (const told of [
      'GOOGLE_CLOUD_PROJECT must be the id of the Google Cloud project, got "No Project"',
      'DORMOUSE_BUCKET is not set; set it to the name of the bucket for files',
      'DORMOUSE_QUEUE is not set',
      'DORMOUSE_SERVICE_URL is not set',
      'DORMOUSE_SERVICE_ACCOUNT is not set',
    ]) {
      expect(line.cause).toContain(told);
    }
  });

  test('its log is Cloud Logging’s JSON, with the trace of the request', async () => {
    const system = await start(small, { wire: 'broker' });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const made = await system.ask('/api/tokens', {
      method: 'POST',
      headers: { traceparent },
      body: JSON.stringify({ role: 'client', tenant: 'acme' }),
    });
    expect(made.status).toBe(201);
    const line = await until(
      'the line of the new token',
      () => /^console (\{.*token\.created.*)$/m.exec(system.said)?.[1],
    );
    expect(JSON.parse(line)).toMatchObject({
      severity: 'INFO',
      message: 'token.created',
      'logging.googleapis.com/trace': `projects/${system.plan.project}/traces/0af7651916cd43dd8448eb211c80319c`,
    });
  });

  test('the console tells what it knows, streams what is new, and says what only Google can do', async () => {
    const system = await start(small, { wire: 'broker' });
    const { topics } = await system.get<{ topics: { name: string; subscriptions: object[] }[] }>('/api/topics');
    expect(topics.find(({ name }) => name === 'note.taken')?.subscriptions).toEqual([
      { name: 'scribe.note.taken', ordered: false, undeclared: false },
    ]);
    const { paths } = await system.get<{ paths: object }>('/openapi.json');
    expect(Object.keys(paths)).toContain('/api/dead-letters/{id}/redrive');
    const paused = await system.ask('/api/subscriptions/scribe.note.taken/pause', { method: 'POST' });
    expect(paused.status).toBe(501);
    expect(await paused.json()).toMatchObject({ detail: expect.stringContaining('gcloud pubsub subscriptions') });

    const id = await note(system, 'hello');
    const told = await system.stream(`/api/workflows/${id}/events`, /"seen":"hello"/);
    expect(told).toContain('event: workflow');
  });

  test('commands reach the console behind Cloud Run by its URL, with its token and, where it asks, an identity; the door that refuses is named', async () => {
    const system = await start(small, { wire: 'broker', idleMs: 60_000 });
    const id = await note(system, 'hello');
    await seen(system, id, 'hello');
    const url = system.cloudRun.urlOf('console');
    const asked = (args: string[], environment: Record<string, string> = {}) =>
      dormouse(args, { folder, environment: { DORMOUSE_URL: url, DORMOUSE_TOKEN: system.token, ...environment } });
    const listed = { code: 0, stdout: expect.stringContaining(id), stderr: '' };
    expect(await asked(['cases'])).toMatchObject(listed);
    const told = await asked(['services']);
    expect(told).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout).toMatch(/^scribe +run by Cloud Run$/m);

    const operator = engines.metadata.email;
    system.cloudRun.restrict('console', engines.admission(operator, [engines.metadata.address]));
    const stranger = await asked(['cases']);
    expect(stranger).toMatchObject({ code: 1, stdout: '' });
    expect(stranger.stderr).toMatch(
      /Cloud Run, .* answered 40[13]: it wants to know who comes, .*DORMOUSE_IDENTITY_TOKEN/,
    );
    const expired = await engines.metadata.sign({ aud: url, exp: Math.floor(Date.now() / 1000) - 3600 });
    expect((await asked(['cases'], { DORMOUSE_IDENTITY_TOKEN: expired })).stderr).toMatch(
      /Cloud Run, .* answered 401: it does not take the identity .*roles\/run\.invoker/,
    );

    const known = { DORMOUSE_IDENTITY_TOKEN: await engines.metadata.sign({ aud: url }) };
    expect(await asked(['cases'], known)).toMatchObject(listed);
    const machine = { GCE_METADATA_HOST: engines.metadata.address };
    expect(await asked(['trace', id, '--identity', 'metadata'], machine)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('note.taken'),
    });
    const nobody = await asked(['cases', '--identity', 'metadata'], { GCE_METADATA_HOST: '127.0.0.1:9' });
    expect(nobody.stderr).toMatch(/--identity metadata: this is no machine of Google’s .*DORMOUSE_IDENTITY_TOKEN/);
    const wrong = { ...known, DORMOUSE_TOKEN: `${system.token.slice(0, -1)}!` };
    expect((await asked(['dead-letters'], wrong)).stderr).toMatch(`the console at ${url} refuses the token: `);
    expect((await asked(['dead-letters', 'redrive', 'DL-1'], wrong)).stderr).toMatch(`the console at ${url} refuses`);
    const paused = await asked(['subscriptions', 'pause', 'scribe.note.taken'], known);
    expect(paused).toMatchObject({ code: 1, stderr: expect.stringContaining('gcloud pubsub subscriptions') });
  });
}
