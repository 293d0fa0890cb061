import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Measure } from './measurement.ts';
import { PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { payload, type QueueAt, type QueueClient } from './queue-client.ts';
import { Missing, type QueueServer, startNats, startPostgres, startRabbitmq, startRedis } from './queue-servers.ts';
import { table, whole } from './table.ts';

const aim = 1.5;
/** Of ours over REST, which is what the aim is about. */
const ours = 'dormouse, REST';
const roundTimeoutMs = 120_000;

interface Queue {
  readonly name: string;
  /** What is on disk when a publish is confirmed. */
  readonly durability: string;
  readonly server: 'dormouse' | 'emulator' | 'rabbitmq' | 'nats' | 'nats-sync' | 'redis' | 'redis-sync' | 'postgres';
  /** The module with its client. */
  readonly client: string;
}

const synced = 'synced before it is confirmed';
const queues: readonly Queue[] = [
  { name: ours, durability: synced, server: 'dormouse', client: 'queue-rest.ts' },
  { name: 'dormouse, REST, one a request', durability: synced, server: 'dormouse', client: 'queue-one.ts' },
  { name: 'dormouse, gRPC', durability: synced, server: 'dormouse', client: 'queue-grpc.ts' },
  { name: 'Google’s emulator, REST', durability: 'memory', server: 'emulator', client: 'queue-rest.ts' },
  { name: 'Google’s emulator, gRPC', durability: 'memory', server: 'emulator', client: 'queue-grpc.ts' },
  { name: 'RabbitMQ, quorum queue', durability: synced, server: 'rabbitmq', client: 'peers/rabbitmq.ts' },
  { name: 'NATS JetStream, file', durability: 'synced every 2 min', server: 'nats', client: 'peers/nats.ts' },
  { name: 'NATS JetStream, sync always', durability: synced, server: 'nats-sync', client: 'peers/nats.ts' },
  {
    name: 'BullMQ, appendfsync everysec',
    durability: 'synced every second',
    server: 'redis',
    client: 'peers/bullmq.ts',
  },
  { name: 'BullMQ, appendfsync always', durability: synced, server: 'redis-sync', client: 'peers/bullmq.ts' },
  { name: 'pg-boss on PostgreSQL', durability: synced, server: 'postgres', client: 'peers/pg-boss.ts' },
];

const starts: Readonly<Record<Queue['server'], () => Promise<QueueServer>>> = {
  dormouse: () => PubsubServer.broker(),
  emulator: async () => {
    const server = await PubsubServer.emulator();
    if (!server) throw new Missing('install the Cloud SDK’s pubsub-emulator');
    return server;
  },
  rabbitmq: startRabbitmq,
  nats: () => startNats(false),
  'nats-sync': () => startNats(true),
  redis: () => startRedis('everysec'),
  'redis-sync': () => startRedis('always'),
  postgres: startPostgres,
};

/** A producer and a consumer process, publish to last ack: ours beside the queues that are installed here. */
export const measureQueue: Measure = async ({ quick, progress }) => {
  const runs = quick ? 1 : 5;
  const messages = quick ? 5_000 : 50_000;
  const servers = new Map<string, QueueServer>();
  const missing: string[] = [];
  const rates = new Map<string, number[]>();
  try {
    for (const { name, server, client } of queues) {
      try {
        if (client.startsWith('peers/') && !existsSync(join(import.meta.dirname, 'peers/node_modules'))) {
          throw new Missing('npm install --prefix bench/peers');
        }
        if (!servers.has(server)) servers.set(server, await starts[server]());
        rates.set(name, []);
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        missing.push(`Left out: ${name}. ${error.message}`);
      }
    }
    let rounds = 0;
    // The first round warms them up.
    for (let run = 0; run <= runs; run++) {
      for (const { name, server, client } of queues) {
        if (!rates.has(name)) continue;
        progress(`round ${run} of ${runs}: ${name}`);
        const at = { port: servers.get(server)!.port, name: `bench-${rounds++}` };
        const { prepare } = (await import(join(import.meta.dirname, client))) as QueueClient;
        await prepare(at);
        const tookMs = await runOnce(client, at, messages);
        if (run > 0) rates.get(name)!.push((messages / tookMs) * 1000);
      }
    }
    return { report: report(rates, messages, missing), figures: Object.fromEntries(rates) };
  } finally {
    for (const server of servers.values()) await server.stop();
  }
};

/** From the producer's start to the consumer's last ack. */
async function runOnce(client: string, at: QueueAt, messages: number): Promise<number> {
  const workers = (['consume', 'produce'] as const).map((role) => new Worker(client, role, at, messages));
  const timer = setTimeout(() => {
    for (const worker of workers) worker.end(`not done after ${roundTimeoutMs / 1000} s`);
  }, roundTimeoutMs);
  try {
    for (const worker of workers) await worker.said('ready');
    const startedAt = performance.now();
    for (const worker of workers) worker.begin();
    await Promise.all(workers.map((worker) => worker.said('done')));
    return performance.now() - startedAt;
  } finally {
    clearTimeout(timer);
    for (const worker of workers) worker.end('is over');
  }
}

class Worker {
  readonly #child: ReturnType<typeof fork>;
  readonly #said = { ready: Promise.withResolvers<void>(), done: Promise.withResolvers<void>() };

  constructor(client: string, role: string, { port, name }: QueueAt, messages: number) {
    const args = [join(import.meta.dirname, client), role, `${port}`, name, `${messages}`];
    this.#child = fork(join(import.meta.dirname, 'queue-worker.ts'), args);
    this.#child.on('message', (word: 'ready' | 'done') => this.#said[word].resolve());
    this.#child.on('exit', (code) => this.#fail(`ended with ${code}`));
    for (const { promise } of Object.values(this.#said)) promise.catch(() => {});
    this.#what = `${role} of ${client}`;
  }

  readonly #what: string;

  said(word: 'ready' | 'done'): Promise<void> {
    return this.#said[word].promise;
  }

  begin(): void {
    this.#child.send('begin');
  }

  end(why: string): void {
    this.#fail(why);
    this.#child.kill();
  }

  #fail(why: string): void {
    for (const { reject } of Object.values(this.#said)) reject(new Error(`queue: the ${this.#what} ${why}`));
  }
}

function report(rates: ReadonlyMap<string, readonly number[]>, messages: number, missing: readonly string[]): string {
  const rows = queues
    .filter(({ name }) => rates.has(name))
    .map(({ name, durability }) => ({ name, durability, rate: median(rates.get(name)!) }))
    .sort((a, b) => b.rate - a.rate);
  const our = median(rates.get(ours)!);
  const best = Math.max(...rows.filter(({ name }) => !name.startsWith('dormouse')).map(({ rate }) => rate), 0);
  const lead = best > 0 ? `; the best of the others: ${(our / best).toFixed(2)} ×, aim ≥ ${aim} ×` : '';
  return table(
    `queue: ${payload.length} B, a producer and a consumer process, publish to last ack, ${whole(messages)} messages, medians; messages/s`,
    [
      ['', 'messages/s', `beside ours over REST`, 'a confirmed message is'],
      ...rows.map(({ name, durability, rate }) => [name, whole(rate), `${(rate / our).toFixed(2)} ×`, durability]),
    ],
    [
      `Ours over REST: ${whole(our)} messages/s${lead}.`,
      'Each the way it is fastest: REST publishes 100 a request, 8 at once, and pulls and acks what is there, 4 at once; gRPC batches of 100',
      'and streaming pull; RabbitMQ and NATS 1,000 unconfirmed and 1,000 unacked; BullMQ and pg-boss add 100 a call, 4 at once; BullMQ works',
      'on 100 at once, pg-boss fetches and completes 100 a call, 4 at once. One a request: 64 at once.',
      ...missing,
    ],
  );
}
