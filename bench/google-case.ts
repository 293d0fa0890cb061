import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../deploy/image-folder.ts';
import { FaultProxy } from '../packages/testing/src/fault-proxy.ts';
import { Trips } from '../packages/testing/src/google/trips.ts';
import { Engines, enginesMissing } from '../test/gcp/engines.ts';
import { type Between, GoogleSystem } from '../test/gcp/google-system.ts';
import { firestoreContents } from './firestore-contents.ts';
import { type BilledUsage, billTable } from './google-bill.ts';
import { count, medianOf, nothing, type Operations, usageOf } from './google-operations.ts';
import type { Measure } from './measurement.ts';
import { cpuTime, memoryOf } from './proc.ts';
import { median } from './quantile.ts';
import { megabytes, ms, table } from './table.ts';

interface Counted {
  readonly case: Operations;
  /** A sweep that finds nothing to do, with the start of the console for it. */
  readonly sweep: Operations;
}

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
  const counted: Counted[] = [];
  try {
    for (let round = 1; round <= (quick ? 1 : 5); round++) {
      counted.push(await oneCase(engines, { manifest, images, folder }, join(apps, 'samples/sample-case.json')));
      progress(`case ${round}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { report: report(counted), figures: { counted } };
};

async function oneCase(
  engines: Engines,
  built: Pick<Parameters<typeof GoogleSystem.start>[0], 'manifest' | 'images' | 'folder'>,
  sample: string,
): Promise<Counted> {
  const operations = nothing();
  const sweep = nothing();
  let counting: Operations | undefined = operations;
  const trips = new Trips();
  const proxies: FaultProxy[] = [];
  /** By topic, when the system is there: nothing is published before. */
  const subscribers = new Map<string, number>();
  const between = async (engine: Between, address: string) => {
    const proxy = await FaultProxy.start(address, (request, status, answer) => {
      if (counting) count(counting, engine, request, answer, subscribers);
      trips.answered(request, status);
    });
    proxies.push(proxy);
    return proxy.address;
  };
  // Nobody sleeps before it is counted.
  await using system = await GoogleSystem.start({ engines, wire: 'broker', idleMs: 120_000, between, ...built });
  const { plan, cloudRun } = system;
  for (const { topic } of plan.subscriptions) subscribers.set(topic, (subscribers.get(topic) ?? 0) + 1);
  const made = await system.ask('/api/workflows/create', { method: 'POST', body: readFileSync(sample, 'utf8') });
  const { workflowId } = (await made.json()) as { workflowId: string };
  // Looks at the console are no part of it: by the store itself.
  const over = async () => {
    const [found] = await system.firestore.get([`workflows/${workflowId}`]);
    const text = found?.fields.data && 'stringValue' in found.fields.data ? found.fields.data.stringValue : '{}';
    return ['closed', 'escalated'].includes(JSON.parse(text).status) && (await system.isQuiet());
  };
  await system.until('the end of the case', over, 120_000);
  counting = undefined;
  operations.trips = trips.take();
  operations.requestsTaken = cloudRun.requests;
  operations.wakes = cloudRun.wakes;
  operations.cpuSeconds = cloudRun
    .instances()
    .reduce((sum, { process }) => sum + cpuTime(process.pid!).ownMs / 1000, 0);
  operations.settled = (await system.documents('inbox')).length;
  operations.processes = cloudRun.instances().map(({ service, startMs, process }) => ({
    service,
    startMs,
    rssBytes: memoryOf(process.pid!).rssBytes,
  }));
  const isOurs = (task: string) => task.startsWith(`projects/${plan.project}/`);
  operations.ticks =
    engines.tasks.dispatched.filter(({ task }) => isOurs(task)).length +
    engines.tasks.waiting.filter(({ name }) => isOurs(name)).length;
  const rest = engines.rest(engines.firestore.address, async () => 'owner');
  operations.left = await firestoreContents(rest, plan.project);
  rest.close();

  await cloudRun.stopInstances();
  operations.billedMs = cloudRun.billedMs;
  counting = sweep;
  await system.sweep();
  await cloudRun.stopInstances();
  sweep.requestsTaken = 1;
  sweep.billedMs = cloudRun.billedMs - operations.billedMs;
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
  return { case: operations, sweep };
}

function report(counted: readonly Counted[]): string {
  const cases = counted.map((each) => each.case);
  const middle = (of: (each: Operations) => number) => median(cases.map(of));
  const names = [...new Set(cases.flatMap(({ requests }) => Object.keys(requests)))].toSorted();
  const processes = cases.flatMap((each) => each.processes);
  const sweepSeconds = (median(counted.map(({ sweep }) => sweep.billedMs)) / 1000).toFixed(1);
  const rows: [string, string][] = [
    ['deliveries settled', String(middle(({ settled }) => settled))],
    ...names.map((name): [string, string] => [name, String(middle(({ requests }) => requests[name] ?? 0))]),
    ['documents read', String(middle(({ documentsRead }) => documentsRead))],
    ['documents written', String(middle(({ documentsWritten }) => documentsWritten))],
    ['documents deleted', String(middle(({ documentsDeleted }) => documentsDeleted))],
    ['messages', String(middle(({ messages }) => messages))],
    ['bytes of messages, as billed', String(middle(({ messageBytes }) => messageBytes))],
    ['tasks made, delivered', `${middle(({ tasks }) => tasks)}, ${middle(({ ticks }) => ticks)}`],
    ['files written, read', `${middle(({ filesWritten }) => filesWritten)}, ${middle(({ filesRead }) => filesRead)}`],
    ['processes started', String(middle(({ wakes }) => wakes))],
    ['CPU of all processes', `${middle(({ cpuSeconds }) => cpuSeconds).toFixed(2)} s`],
    ['start until it listens', ms(median(processes.map(({ startMs }) => startMs)))],
    ['memory of a process', megabytes(median(processes.map(({ rssBytes }) => rssBytes)))],
    ['billed of Cloud Run, a sweep', `${(middle(({ billedMs }) => billedMs) / 1000).toFixed(1)} s, ${sweepSeconds} s`],
    ['documents left, their bytes', `${middle(({ left }) => left.documents)}, ${middle(({ left }) => left.bytes)}`],
  ];
  const operations = table(
    `One disputed case on Google's engines, medians of ${cases.length}`,
    [['', 'a case'], ...rows],
    [
      'Our broker in place of Pub/Sub, the Firestore emulator, every service woken once. A verified document counts as read.',
      'Tasks are delivered also after the case, when the timers that they were made for are cancelled.',
    ],
  );
  const usage: BilledUsage = {
    aCase: medianOf(counted.map((each) => usageOf(each.case, each.sweep))),
    aSweep: medianOf(counted.map(({ sweep }) => usageOf(sweep, sweep))),
  };
  const kinds = [...new Set(cases.flatMap(({ trips }) => Object.keys(trips)))].toSorted();
  const trips = table('Its requests to Firestore, Pub/Sub and Cloud Tasks, by what they were for', [
    ['', 'a case'],
    ...kinds.map((kind) => [kind, String(middle((each) => each.trips[kind] ?? 0))]),
  ]);
  return `${operations}\n\n${trips}\n\n${billTable(usage)}`;
}
