import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { playRound } from './journey-round.ts';
import type { RoundResult } from './journey-worker.ts';
import type { Measure } from './measurement.ts';
import { median, quantile } from './quantile.ts';
import {
  Missing,
  type QueueServer,
  startNats,
  startPostgres,
  startRabbitmq,
  startRedis,
  startRestate,
} from './queue-servers.ts';
import { ms, ratio, table, whole } from './table.ts';

const inFlight = 100;
const everyMs = 100;
const aims: Readonly<Record<string, { readonly journeysPerSecond: number; readonly p50Ms?: number }>> = {
  'dormouse, inline': { journeysPerSecond: 500, p50Ms: 60 },
  'dormouse, processes': { journeysPerSecond: 150 },
};
const ourClient = 'journey-dormouse.ts';

interface Contender {
  readonly name: string;
  /** What is on disk when a step is done. */
  readonly durability: string;
  readonly server: keyof typeof starts;
  /** The module with its client, and the name of its export. */
  readonly client: readonly [string, string];
}

const starts = {
  none: async (): Promise<QueueServer> => ({ port: 0, stop: async () => {} }),
  restate: startRestate,
  postgres: startPostgres,
  redis: () => startRedis('everysec'),
  'redis-sync': () => startRedis('always'),
  nats: () => startNats(false),
  rabbitmq: startRabbitmq,
};

const contenders: readonly Contender[] = [
  {
    name: 'dormouse, inline',
    durability: 'state, log, inbox, messages; synced',
    server: 'none',
    client: [ourClient, 'inline'],
  },
  {
    name: 'dormouse, processes',
    durability: 'state, log, inbox, messages; synced',
    server: 'none',
    client: [ourClient, 'processes'],
  },
  {
    name: 'Restate, a workflow',
    durability: 'state, journal; synced',
    server: 'restate',
    client: ['peers/journey-restate.ts', 'asWorkflow'],
  },
  {
    name: 'Restate, messages',
    durability: 'state, journal, messages; synced',
    server: 'restate',
    client: ['peers/journey-restate.ts', 'asMessages'],
  },
  {
    name: 'DBOS on PostgreSQL',
    durability: 'state, steps; synced',
    server: 'postgres',
    client: ['peers/journey-dbos.ts', 'dbos'],
  },
  {
    name: 'pg-boss on PostgreSQL',
    durability: 'state, messages; synced',
    server: 'postgres',
    client: ['peers/journey-pg-boss.ts', 'pgBoss'],
  },
  {
    name: 'BullMQ, appendfsync always',
    durability: 'messages; synced',
    server: 'redis-sync',
    client: ['peers/journey-bullmq.ts', 'bullmq'],
  },
  {
    name: 'BullMQ, appendfsync everysec',
    durability: 'messages; synced every second',
    server: 'redis',
    client: ['peers/journey-bullmq.ts', 'bullmq'],
  },
  {
    name: 'NATS JetStream, file',
    durability: 'messages; synced every 2 min',
    server: 'nats',
    client: ['peers/journey-nats.ts', 'nats'],
  },
  {
    name: 'RabbitMQ, quorum queue',
    durability: 'messages; synced',
    server: 'rabbitmq',
    client: ['peers/journey-rabbitmq.ts', 'rabbitmq'],
  },
];

/** Journeys of ten steps: ours, and engines and queues that are installed here, each in its own idiom. */
export const measureJourney: Measure = async ({ quick, own, progress }) => {
  const rounds = quick ? 1 : 3;
  const sizes = quick
    ? { warmMs: 1_000, forMs: 2_000, openCount: 20 }
    : { warmMs: 3_000, forMs: 10_000, openCount: 150 };
  const servers = new Map<string, QueueServer>();
  const missing: string[] = [];
  const results = new Map<string, RoundResult[]>();
  try {
    for (const { name, server, client } of contenders) {
      if (own && client[0] !== ourClient) continue;
      try {
        if (client[0].startsWith('peers/') && !existsSync(join(import.meta.dirname, 'peers/node_modules'))) {
          throw new Missing('npm install --prefix bench/peers');
        }
        if (!servers.has(server)) servers.set(server, await starts[server]());
        results.set(name, []);
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        missing.push(`Left out: ${name}. ${error.message}`);
      }
    }
    let count = 0;
    for (let round = 1; round <= rounds; round++) {
      for (const { name, server, client } of contenders) {
        if (!results.has(name)) continue;
        const { port, adminPort } = servers.get(server)!;
        const at = { port, name: `bench-${count++}`, ...(adminPort !== undefined && { adminPort }) };
        const result = await playRound({ client, at, inFlight, everyMs, ...sizes });
        results.get(name)!.push(result);
        progress(`round ${round} of ${rounds}: ${name}: ${whole(result.journeysPerSecond)} journeys/s`);
      }
    }
  } finally {
    for (const server of servers.values()) await server.stop();
  }
  return {
    report: report(results, missing),
    figures: { inFlight, everyMs, ...sizes, rounds: Object.fromEntries(results) },
  };
};

function report(results: ReadonlyMap<string, readonly RoundResult[]>, missing: readonly string[]): string {
  const rateOf = (name: string) => median(results.get(name)!.map(({ journeysPerSecond }) => journeysPerSecond));
  const ours = rateOf(contenders[0]!.name);
  const rows = contenders
    .filter(({ name }) => results.has(name))
    .map(({ name, durability }) => {
      const rate = rateOf(name);
      const times = results.get(name)!.flatMap(({ journeyMs }) => journeyMs);
      const [p50, p95] = [quantile(times, 0.5), quantile(times, 0.95)];
      return [name, whole(rate), ratio(rate / ours), aimOf(name, rate, p50), ms(p50), ms(p95), durability];
    });
  return table(
    `journey: ${inFlight} in flight, journeys/s; then ${1000 / everyMs} begun a second, from the beginning of one to its end; medians`,
    [['', 'journeys/s', 'beside ours inline', 'aim', 'p50', 'p95', 'on disk when a step is done'], ...rows],
    [
      'A journey: ten steps, each receives a message, changes the journey’s document (500 B at its end), and publishes the next. BullMQ, NATS and',
      'RabbitMQ keep no document. The client and the workers are one process, beside it the server; ours: one process, or a host and its instances.',
      'Each in its idiom: Restate as a workflow of ten journaled steps, and as an object that sends to itself; DBOS as a workflow of ten steps,',
      'each of which changes a row; pg-boss changes a row and sends in one transaction, eight workers that fetch 20.',
      ...missing,
    ],
  );
}

function aimOf(name: string, rate: number, p50Ms: number): string {
  const aim = aims[name];
  if (!aim) return '';
  const rateText = `≥ ${aim.journeysPerSecond}: ${rate >= aim.journeysPerSecond ? 'met' : 'missed'}`;
  return aim.p50Ms === undefined ? rateText : `${rateText}, < ${aim.p50Ms} ms: ${p50Ms < aim.p50Ms ? 'met' : 'missed'}`;
}
