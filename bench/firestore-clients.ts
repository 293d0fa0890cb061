import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '@dormouse/core';
import { Emulator, findEmulator, StorageServer, TasksServer } from '@dormouse/testing';
import { build } from 'esbuild';
import type { Told } from './client-process.ts';
import { leash } from './leash.ts';
import type { Measure } from './measurement.ts';
import { memoryOf } from './proc.ts';
import { median, quantile } from './quantile.ts';
import { megabytes, ms, table } from './table.ts';

const folder = join(import.meta.dirname, 'google-clients');

interface Client {
  readonly name: string;
  /** In the folder. */
  readonly file: string;
  readonly api: 'firestore' | 'storage' | 'tasks';
  /** What reads files from its package's folder, and cannot be put into one file. */
  readonly apart?: readonly string[];
}

const clients: readonly Client[] = [
  { name: 'node alone', file: 'nothing', api: 'firestore' },
  { name: 'Firestore: ours, REST', file: 'firestore-ours', api: 'firestore' },
  { name: 'Firestore: official, gRPC', file: 'firestore-grpc', api: 'firestore' },
  { name: 'Firestore: official, preferRest', file: 'firestore-prefer-rest', api: 'firestore' },
  { name: 'Cloud Storage: ours, REST', file: 'storage-ours', api: 'storage' },
  { name: 'Cloud Storage: official', file: 'storage-official', api: 'storage' },
  { name: 'Cloud Tasks: ours, REST', file: 'tasks-ours', api: 'tasks' },
  {
    name: 'Cloud Tasks: official, REST',
    file: 'tasks-official',
    api: 'tasks',
    apart: ['@google-cloud/tasks', 'google-auth-library'],
  },
];

interface Wake {
  /** From spawn to the answer of the first read. */
  readonly wakeMs: number;
  readonly importMs: number;
  readonly readMs: number;
  readonly rssBytes: number;
}

interface Measured {
  readonly wakes: Wake[];
  readonly writesMs: number[];
  rssAfterWritesBytes: number;
}

/** What a service pays for a client of Google's APIs: to wake with it, to keep it in memory, and for each commit. */
export const measureFirestoreClients: Measure = async ({ quick, progress }) => {
  const rounds = quick ? 3 : 15;
  const writes = quick ? 20 : 200;
  const found = findEmulator('firestore');
  if ('missing' in found) throw new Error(`firestore-clients: ${found.missing}`);
  if (!existsSync(join(folder, 'node_modules'))) {
    throw new Error('firestore-clients: Google’s clients are not installed; npm install --prefix bench/google-clients');
  }
  // Beside what is not bundled, so that it is found.
  const work = join(folder, 'dist');
  using emulator = await Emulator.start(found);
  await using storage = await StorageServer.start({ buckets: ['bench'] });
  await using tasks = await TasksServer.start({ clock: systemClock });
  tasks.createQueue('projects/bench/locations/here/queues/timers');
  await fetch(`${storage.url}/upload/storage/v1/b/bench/o?uploadType=media&name=first`, {
    method: 'POST',
    body: Buffer.alloc(20_000, 'a statement '),
  });
  const addresses = { firestore: emulator.address, storage: storage.address, tasks: tasks.address };
  try {
    const measured = new Map<string, Measured>();
    for (const { name, file, apart } of clients) {
      await bundled(file, work, apart);
      measured.set(name, { wakes: [], writesMs: [], rssAfterWritesBytes: 0 });
    }
    for (let round = 0; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}`);
      for (const { name, file, api } of clients) {
        const { wake } = await run(join(work, `${file}.mjs`), addresses[api], 0, work);
        // The first fills the compile cache.
        if (round > 0) measured.get(name)!.wakes.push(wake);
      }
    }
    for (const { name, file, api } of clients) {
      progress(`writes of ${name}`);
      const { writesMs, rssBytes } = await run(join(work, `${file}.mjs`), addresses[api], writes + 20, work);
      const of = measured.get(name)!;
      of.writesMs.push(...writesMs.slice(20));
      of.rssAfterWritesBytes = rssBytes;
    }
    return { report: report(measured, rounds, writes), figures: Object.fromEntries(measured) };
  } finally {
    rmSync(work, { recursive: true });
  }
};

/** As services are: one file, with what it needs. */
async function bundled(file: string, work: string, apart: readonly string[] = []): Promise<void> {
  await build({
    entryPoints: [join(folder, `${file}.ts`)],
    outfile: join(work, `${file}.mjs`),
    bundle: true,
    external: [...apart],
    platform: 'node',
    format: 'esm',
    target: 'node26',
    minifySyntax: true,
    logLevel: 'error',
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        "import { fileURLToPath as __pathOf } from 'node:url';",
        'const require = __createRequire(import.meta.url);',
        "const __filename = __pathOf(import.meta.url), __dirname = __pathOf(new URL('.', import.meta.url));",
      ].join('\n'),
    },
  });
}

async function run(bundle: string, address: string, writes: number, work: string) {
  const startedAt = performance.now();
  const child: ChildProcess = spawn(
    process.execPath,
    [join(import.meta.dirname, 'client-process.ts'), bundle, address, String(writes)],
    {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(work, 'cache'), METADATA_SERVER_DETECTION: 'none' },
    },
  );
  leash(child);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const next = async <T extends Told>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${bundle} ended before it told anything`);
    return JSON.parse(value);
  };
  try {
    const first = await next<Extract<Told, { importMs: number }>>();
    const wakeMs = performance.now() - startedAt;
    const wake: Wake = { ...first, wakeMs, rssBytes: memoryOf(child.pid!).rssBytes };
    const { writesMs } = await next<Extract<Told, { writesMs: readonly number[] }>>();
    return { wake, writesMs, rssBytes: memoryOf(child.pid!).rssBytes };
  } finally {
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
}

function report(measured: ReadonlyMap<string, Measured>, rounds: number, writes: number): string {
  const rows = [...measured].map(([name, { wakes, writesMs, rssAfterWritesBytes }]) => {
    const of = (get: (wake: Wake) => number) => median(wakes.map(get));
    const isNothing = name === clients[0]!.name;
    return [
      name,
      ms(of(({ wakeMs }) => wakeMs)),
      isNothing ? '-' : ms(of(({ importMs }) => importMs)),
      isNothing ? '-' : ms(of(({ readMs }) => readMs)),
      megabytes(of(({ rssBytes }) => rssBytes)),
      megabytes(rssAfterWritesBytes),
      isNothing ? '-' : ms(median(writesMs)),
      isNothing ? '-' : ms(quantile(writesMs, 0.95)),
    ];
  });
  return table(
    `firestore-clients: ${rounds} wakes each, in turn; ${writes} commits of three writes, uploads of 20 kB, tasks, one after the other`,
    [['', 'wake', 'import', 'first read', 'RSS then', 'RSS after writes', 'write p50', 'p95'], ...rows],
    [
      'Wake: from spawn to the answer of the first read; each bundled into one file, but for that of Cloud Tasks, which cannot be; with a warm compile cache.',
      'Firestore is Google’s emulator; Cloud Storage and Cloud Tasks are the servers of the tests, so their times tell of the clients.',
    ],
  );
}
