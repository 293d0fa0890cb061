import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../deploy/image-folder.ts';
import { FaultProxy } from '../packages/testing/src/fault-proxy.ts';
import type { SeenRequest } from '../packages/testing/src/google/ordered-faults.ts';
import { Engines, enginesMissing } from '../test/gcp/engines.ts';
import { type Between, GoogleSystem } from '../test/gcp/google-system.ts';
import type { Measure } from './measurement.ts';
import { cpuTime, memoryOf } from './proc.ts';
import { median } from './quantile.ts';
import { megabytes, ms, table } from './table.ts';

/** What a case asks of Google's engines. Documents and messages, not requests: by these Google charges. */
interface Operations {
  requests: Record<string, number>;
  documentsRead: number;
  documentsWritten: number;
  documentsDeleted: number;
  messages: number;
  /** Each at least 1,000 bytes, published, and delivered to every subscription of its topic. */
  messageBytes: number;
  tasks: number;
  filesWritten: number;
  filesRead: number;
  /** Deliveries that were settled: steps, and what only noted something. */
  settled: number;
  /** Of all processes, the console's too, with their starts. */
  cpuSeconds: number;
  wakes: number;
  /** Of each process: from its start until it listens, and what it holds when the case is over. */
  processes: { readonly service: string; readonly startMs: number; readonly rssBytes: number }[];
}

/**
 * Dollars beyond what is free each month. Firestore's of its page firebase.google.com/docs/firestore/pricing, United States (multi-region), as
 * stored in 2026.
 */
const perDocument = { read: 0.06 / 100_000, written: 0.18 / 100_000, deleted: 0.02 / 100_000 };

/** Counts what one disputed case does on Google's engines, seen by proxies before them. */
export const measureGoogleCase: Measure = async ({ quick, progress }) => {
  const missing = enginesMissing();
  if (missing !== undefined) throw new Error(`google-case: ${missing}`);
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-bench-gcp-'));
  const apps = join(import.meta.dirname, '../apps/casework');
  const images = join(folder, 'images');
  await makeImageFolders({ systemFile: join(apps, 'system.ts'), out: images });
  const manifest = await describeSystem(join(apps, 'system.ts'), images);
  await using engines = await Engines.start();
  const counted: Operations[] = [];
  try {
    for (let round = 1; round <= (quick ? 1 : 5); round++) {
      counted.push(await oneCase(engines, { manifest, images, folder }, join(apps, 'samples/sample-case.json')));
      progress(`case ${round}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { report: report(counted), figures: { counted, perDocument } };
};

async function oneCase(
  engines: Engines,
  built: Pick<Parameters<typeof GoogleSystem.start>[0], 'manifest' | 'images' | 'folder'>,
  sample: string,
): Promise<Operations> {
  const operations: Operations = {
    requests: {},
    documentsRead: 0,
    documentsWritten: 0,
    documentsDeleted: 0,
    messages: 0,
    messageBytes: 0,
    tasks: 0,
    filesWritten: 0,
    filesRead: 0,
    settled: 0,
    cpuSeconds: 0,
    wakes: 0,
    processes: [],
  };
  let counts = true;
  const proxies: FaultProxy[] = [];
  const between = async (engine: Between, address: string) => {
    const proxy = await FaultProxy.start(address);
    proxies.push(proxy);
    proxy.faults.order({
      // It strikes nothing: it looks.
      on: (request) => {
        if (counts) count(operations, engine, request);
        return false;
      },
    });
    return proxy.address;
  };
  // Nobody sleeps before it is counted.
  await using system = await GoogleSystem.start({ engines, wire: 'broker', idleMs: 120_000, between, ...built });
  const made = await system.ask('/api/workflows/create', { method: 'POST', body: readFileSync(sample, 'utf8') });
  const { workflowId } = (await made.json()) as { workflowId: string };
  // Looks at the console are no part of it: by the store itself.
  const over = async () => {
    const [found] = await system.firestore.get([`workflows/${workflowId}`]);
    const text = found?.fields.data && 'stringValue' in found.fields.data ? found.fields.data.stringValue : '{}';
    return ['closed', 'escalated'].includes(JSON.parse(text).status) && (await system.isQuiet());
  };
  await system.until('the end of the case', over, 120_000);
  counts = false;
  operations.wakes = system.cloudRun.wakes;
  operations.cpuSeconds = system.cloudRun
    .instances()
    .reduce((sum, { process }) => sum + cpuTime(process.pid!).ownMs / 1000, 0);
  operations.settled = (await system.documents('inbox')).length;
  operations.processes = system.cloudRun.instances().map(({ service, startMs, process }) => ({
    service,
    startMs,
    rssBytes: memoryOf(process.pid!).rssBytes,
  }));
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
  return operations;
}

function count(operations: Operations, engine: Between, { method, path, body }: SeenRequest): void {
  const verb = engine === 'firestore' ? path.slice(path.lastIndexOf(':') + 1) : method;
  const name = `${engine} ${engine === 'pubsub' ? 'publish' : verb}`;
  operations.requests[name] = (operations.requests[name] ?? 0) + 1;
  const json = () => JSON.parse(body.toString());
  if (name === 'firestore batchGet') operations.documentsRead += json().documents.length;
  // At least one is charged; what it finds is read by who asked once more, or was little.
  if (name === 'firestore runQuery') operations.documentsRead += 1;
  if (name === 'firestore commit') {
    for (const write of json().writes) {
      if ('delete' in write) operations.documentsDeleted++;
      else if ('verify' in write) operations.documentsRead++;
      else operations.documentsWritten++;
    }
  }
  if (engine === 'pubsub') {
    operations.messages += json().messages.length;
    operations.messageBytes += Math.max(1_000, body.length);
  }
  if (engine === 'tasks' && method === 'POST') operations.tasks++;
  if (engine === 'storage') operations[method === 'GET' ? 'filesRead' : 'filesWritten']++;
}

function report(cases: readonly Operations[]): string {
  const middle = (of: (each: Operations) => number) => median(cases.map(of));
  const names = [...new Set(cases.flatMap(({ requests }) => Object.keys(requests)))].toSorted();
  const { read, written, deleted } = perDocument;
  const firestore = middle(
    (each) => each.documentsRead * read + each.documentsWritten * written + each.documentsDeleted * deleted,
  );
  const processes = cases.flatMap((each) => each.processes);
  const rows: [string, string][] = [
    ['deliveries settled', String(middle(({ settled }) => settled))],
    ...names.map((name): [string, string] => [name, String(middle(({ requests }) => requests[name] ?? 0))]),
    ['documents read', String(middle(({ documentsRead }) => documentsRead))],
    ['documents written', String(middle(({ documentsWritten }) => documentsWritten))],
    ['documents deleted', String(middle(({ documentsDeleted }) => documentsDeleted))],
    ['messages', String(middle(({ messages }) => messages))],
    ['tasks made', String(middle(({ tasks }) => tasks))],
    ['files written, read', `${middle(({ filesWritten }) => filesWritten)}, ${middle(({ filesRead }) => filesRead)}`],
    ['processes started', String(middle(({ wakes }) => wakes))],
    ['CPU of all processes', `${middle(({ cpuSeconds }) => cpuSeconds).toFixed(2)} s`],
    ['start until it listens', ms(median(processes.map(({ startMs }) => startMs)))],
    ['memory of a process', megabytes(median(processes.map(({ rssBytes }) => rssBytes)))],
    ['Firestore for 100 cases', `$${(firestore * 100).toFixed(3)}`],
  ];
  return table(
    `One disputed case on Google's engines, medians of ${cases.length}`,
    [['', 'a case'], ...rows],
    [
      'Our broker in place of Pub/Sub, the Firestore emulator, every service woken once. A verified document counts as read.',
      'Prices of the United States (multi-region), beyond the free 50,000 reads and 20,000 writes a day. Others are not priced here.',
    ],
  );
}
