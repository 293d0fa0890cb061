// Real: Google's Firestore emulator, Cloud Tasks' API over HTTP as `TasksServer` serves it, signed tokens, the broker's log.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Broker, Database, messagesIn } from '@dormouse/broker';
import { type Clock, Relay, systemClock, systemRandom, type UnitOfWork } from '@dormouse/core';
import { type FirestoreStateStore, GoogleRest, TaskScheduler, TokenKeys, tickRoute, tokenCheck } from '@dormouse/gcp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { googleStore } from './google/google-store.ts';
import { MetadataServer } from './google/metadata-server.ts';
import { TasksServer } from './google/tasks-server.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { type SchedulerBench, schedulerSuite } from './scheduler-suite.ts';
import { SetClock } from './set-clock.ts';

const quiet = { info() {}, warn() {}, error() {} };
const topic = 'projects/test/topics/news';
const queue = 'projects/test/locations/here/queues/timers';
const second = 1_000;
const minute = 60 * second;
const day = 86_400 * second;

/** A service as it is on Google: it does something only while it answers, and tasks wake it. */
class GoogleBench implements SchedulerBench {
  /** Google's, and its own. */
  readonly clock: SetClock;
  readonly store: FirestoreStateStore & AsyncDisposable;
  readonly tasks: TasksServer;
  readonly waker: TaskScheduler;
  readonly relay: Relay;
  readonly url: string;
  /** While it is set, nothing can be published. */
  outage: Error | undefined;
  readonly #metadata: MetadataServer;
  readonly #database = new Database(':memory:', { sync: async () => {} });
  readonly #broker: Broker;
  readonly #server: Server;
  readonly #rests: readonly GoogleRest[];
  #isUp = true;
  #sweeping: Promise<unknown> = Promise.resolve();

  private constructor(clock: SetClock, aheadMs: number, metadata: MetadataServer, tasks: TasksServer, server: Server) {
    this.clock = clock;
    this.tasks = tasks;
    this.#metadata = metadata;
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const itsClock: Clock = { ...clock, now: () => clock.now() + aheadMs };
    this.store = googleStore(emulator.address, itsClock);
    this.#broker = new Broker(this.#database, clock, { tidies: false });
    const publish = async (_topic: string, messages: Parameters<Broker['publish']>[1]) => {
      if (this.outage) throw this.outage;
      return this.#broker.publish(topic, messages);
    };
    this.relay = new Relay(this.store, { publish }, quiet);
    const reach = (url: string) => new GoogleRest({ url, clock: systemClock, random: systemRandom });
    this.#rests = [reach(tasks.url), reach(metadata.url)];
    this.waker = new TaskScheduler({
      rest: this.#rests[0]!,
      queue,
      serviceUrl: this.url,
      serviceAccount: metadata.email,
      clock: itsClock,
      log: quiet,
    });
    const route = tickRoute({
      ports: { store: this.store, relay: this.relay, waker: this.waker, clock: itsClock },
      authenticate: tokenCheck({
        keys: new TokenKeys([this.#rests[1]!], clock),
        audience: this.url,
        serviceAccount: metadata.email,
        clock: itsClock,
      }),
      log: quiet,
    });
    server.on('request', async (request, response) => {
      if (!this.#isUp) return void request.socket.destroy();
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = Buffer.concat(chunks).toString();
      const refused = await route.admit({ method: request.method!, authorization: request.headers.authorization });
      const { status, json } = refused ?? (await route.answer(body));
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json ?? {}));
    });
  }

  static async open({ aheadMs = 0 } = {}): Promise<GoogleBench> {
    const clock = new SetClock();
    const metadata = await MetadataServer.start({ clock });
    const tasks = await TasksServer.start({ clock, signer: metadata });
    tasks.createQueue(queue);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const bench = new GoogleBench(clock, aheadMs, metadata, tasks, server);
    await bench.#broker.createTopic({ name: topic });
    return bench;
  }

  /** It can be reached again, and the next sweep comes. */
  start(): void {
    this.#isUp = true;
    this.#sweeping = this.sweep();
  }

  stop(): void {
    this.#isUp = false;
  }

  async sweep(claims: Record<string, unknown> = {}, body = ''): Promise<{ status: number; json: unknown }> {
    const token = await this.#metadata.sign({ aud: this.url, ...claims });
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${this.url}/tick`, { method: 'POST', headers, body });
    return { status: answer.status, json: await answer.json() };
  }

  async published(): Promise<string[]> {
    await this.#sweeping;
    await expect.poll(() => this.tasks.inFlight).toBe(0);
    return Array.from(messagesIn(this.#database), ({ message }) => message.attributes.name!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tasks[Symbol.asyncDispose]();
    this.#server.closeAllConnections();
    this.#server.close();
    for (const rest of this.#rests) rest.close();
    await this.#metadata[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
    this.#broker.close();
    await this.#database.close();
  }
}

let emulator: Emulator;

function timer(bench: GoogleBench, name: string, afterMs: number): UnitOfWork {
  const dueAt = bench.clock.now() + afterMs;
  const message = { topic: 'news', attributes: { name, 'ce-subject': 'workflows/WF-1' }, data: '' };
  const data = { name, generation: name, dueAt, message };
  const writes = [{ ref: `timers/WF-1/named/${encodeURIComponent(name)}`, data, dueAt }];
  return { tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] };
}

/** As a service does it, and as one that dies right after the commit. */
async function set(bench: GoogleBench, name: string, afterMs: number, { dies = false } = {}): Promise<void> {
  const { dueAt } = await bench.store.commit(timer(bench, name, afterMs));
  if (!dies) await bench.waker.wake(dueAt!);
}

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Cloud Tasks with Firestore', found.missing, test.skip);
else {
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  schedulerSuite('Cloud Tasks and Firestore', () => GoogleBench.open(), {
    clockIsNeverSet: 'tasks are due by Google’s clock',
  });

  test('timers of one second share a task, whoever sets them, and a task is at most 30 days ahead', async () => {
    await using bench = await GoogleBench.open();
    for (const ms of [1_100, 1_500, 2_000]) await set(bench, `t${ms}`, ms);
    expect(bench.tasks.waiting.map(({ at }) => at - bench.clock.now())).toEqual([2_000]);
    for (const days of [45, 46]) await set(bench, `day ${days}`, days * day);
    const [, link, ...none] = bench.tasks.waiting;
    expect(none).toEqual([]);
    expect(link!.at - bench.clock.now()).toBeLessThan(30 * day);
    for (let passed = 0; passed < 47; passed++) {
      bench.clock.pass(day);
      await bench.published();
    }
    expect(await bench.published()).toEqual(['t1100', 't1500', 't2000', 'day 45', 'day 46']);
  });

  test('a time whose task has run already is served all the same, again and again', async () => {
    await using bench = await GoogleBench.open();
    await set(bench, 'first', second);
    bench.clock.pass(second);
    expect(await bench.published()).toEqual(['first']);
    // Their time has come, and its task has run.
    for (const name of ['second', 'third', 'fourth']) await set(bench, name, 0);
    for (let passed = 0; passed < 8; passed++) {
      bench.clock.pass(second);
      await bench.published();
    }
    expect((await bench.published()).toSorted()).toEqual(['first', 'fourth', 'second', 'third']);
  });

  test('so is one whose task somebody has deleted', async () => {
    await using bench = await GoogleBench.open();
    await set(bench, 'first', minute);
    const [task] = bench.tasks.waiting;
    await fetch(`${bench.tasks.url}/v2/${task!.name}`, { method: 'DELETE' });
    await set(bench, 'second', minute);
    bench.clock.pass(minute + second);
    expect((await bench.published()).toSorted()).toEqual(['first', 'second']);
  });

  test('a clock of the service that is behind holds up no timer', async () => {
    await using bench = await GoogleBench.open({ aheadMs: -5 * minute });
    await set(bench, 'reminder', minute);
    bench.clock.pass(minute);
    expect(await bench.published()).toEqual(['reminder']);
  });

  test('a timer of a process that died before it asked for a task is found by the next sweep, and what is after it is asked for', async () => {
    await using bench = await GoogleBench.open();
    await set(bench, 'due', second, { dies: true });
    await set(bench, 'next', minute, { dies: true });
    bench.clock.pass(2 * second);
    expect(await bench.published()).toEqual([]);
    const { status, json } = await bench.sweep();
    expect(status).toBe(200);
    expect(json).toMatchObject({ due: 1, isDrained: true, nextDueAt: expect.any(String) });
    bench.clock.pass(minute);
    expect(await bench.published()).toEqual(['due', 'next']);
  });

  test('while Cloud Tasks is out a commit stands, and its timer fires at the next tick', async () => {
    await using bench = await GoogleBench.open();
    const outage = bench.tasks.faults.order({ mishap: { status: 503 }, times: Infinity });
    await set(bench, 'reminder', minute);
    outage.takeBack();
    bench.clock.pass(minute);
    expect(await bench.published()).toEqual([]);
    await bench.sweep();
    expect(await bench.published()).toEqual(['reminder']);
  });

  test.each(['dropped', 'answer lost', { status: 429 }, { status: 503 }] as const)(
    'a task whose making meets %s is there once',
    async (mishap) => {
      await using bench = await GoogleBench.open();
      bench.tasks.faults.order({ mishap });
      await set(bench, 'reminder', minute);
      expect(bench.tasks.waiting).toHaveLength(1);
    },
  );

  test('a service that does not answer is ticked again, until it does', async () => {
    await using bench = await GoogleBench.open();
    await set(bench, 'reminder', minute);
    bench.stop();
    bench.clock.pass(minute);
    for (let passed = 0; passed < 5; passed++) {
      await bench.published();
      bench.clock.pass(second);
    }
    expect(await bench.published()).toEqual([]);
    bench.start();
    expect(await bench.published()).toEqual(['reminder']);
  });

  test('many ticks at once fire each timer once', async () => {
    await using bench = await GoogleBench.open();
    const names = Array.from({ length: 20 }, (_, n) => `timer ${n}`);
    for (const name of names) await set(bench, name, second, { dies: true });
    bench.clock.pass(second);
    const answers = await Promise.all(Array.from({ length: 5 }, () => bench.sweep()));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect((await bench.published()).toSorted()).toEqual(names.toSorted());
  });

  test('what cannot be published stays, the tick says so, and a task a minute looks at it again, however many met it', async () => {
    await using bench = await GoogleBench.open();
    bench.outage = new Error('UNAVAILABLE');
    for (const at of [1, 2, 3, 4, 5]) await set(bench, `reminder ${at}`, at * second);
    for (let passed = 0; passed < 30; passed++) {
      bench.clock.pass(second);
      await bench.published();
    }
    // They were fired, and a while later nothing of them may be left.
    expect(new Set(bench.tasks.dispatched.map(({ status }) => status))).toEqual(new Set([200]));
    expect(bench.tasks.waiting.map(({ at }) => at - bench.clock.now())).toEqual([30 * second]);
    expect((await bench.sweep()).json).toMatchObject({
      isDrained: false,
      failures: ['news: cannot be published to'],
    });
    expect(bench.tasks.waiting).toHaveLength(1);
    bench.clock.pass(minute);
    expect(await bench.published()).toEqual([]);
    expect(bench.tasks.waiting).toHaveLength(1);
    bench.outage = undefined;
    bench.clock.pass(minute);
    expect((await bench.published()).toSorted()).toEqual([1, 2, 3, 4, 5].map((at) => `reminder ${at}`));
    expect(bench.tasks.waiting).toEqual([]);
  });

  test('a timer that can never be fired is named, and makes no task of another come again', async () => {
    await using bench = await GoogleBench.open();
    const { name, ref } = { name: 'poison', ref: 'timers/WF-1/named/poison' };
    const dueAt = bench.clock.now() + second;
    const message = { topic: 'news', attributes: { name, 'ce-subject': 'workflows/WF-1' }, data: '' };
    const commit = bench.store.commit.bind(bench.store);
    await commit({ ...timer(bench, name, second), writes: [{ ref, data: { name, dueAt, message }, dueAt }] });
    bench.store.commit = async (unit) => {
      if (unit.writes.some((write) => write.ref === ref)) throw new Error('too large');
      return commit(unit);
    };
    await set(bench, 'reminder', 2 * second);
    bench.clock.pass(2 * second);
    expect(await bench.published()).toEqual(['reminder']);
    const { status, json } = await bench.sweep();
    expect(status).toBe(200);
    expect(json).toMatchObject({ isDrained: true, failures: [`${ref}: too large`] });
    expect(bench.tasks.waiting.map(({ at }) => at - bench.clock.now())).toEqual([58 * second]);
  });

  test('a tick without a token, or with another’s, is refused', async () => {
    await using bench = await GoogleBench.open();
    expect((await fetch(`${bench.url}/tick`, { method: 'POST' })).status).toBe(401);
    expect((await bench.sweep({ email: 'mallory@elsewhere.test' })).status).toBe(401);
    expect((await bench.sweep({ aud: 'https://elsewhere.test' })).status).toBe(401);
    expect((await bench.sweep({}, 'nonsense')).status).toBe(400);
  });
}
