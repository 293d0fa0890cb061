import type { SeenRequest } from '../packages/testing/src/google/ordered-faults.ts';
import type { Between } from '../test/gcp/google-system.ts';
import type { Contents } from './firestore-contents.ts';
import type { Priced, Usage } from './google-prices.ts';
import { median } from './quantile.ts';

/** What a case asks of Google's engines. Documents and messages, not requests: by these Google charges. */
export interface Operations {
  requests: Record<string, number>;
  /** What each of them was for. */
  trips: Record<string, number>;
  documentsRead: number;
  documentsWritten: number;
  documentsDeleted: number;
  messages: number;
  /** As billed: a request to publish, and each delivery to a subscription, also one that is filtered out, is at least 1,000. */
  messageBytes: number;
  tasks: number;
  /** Calls of Cloud Tasks' API, and what it delivers: also later, when nothing is left to do. */
  taskCalls: number;
  ticks: number;
  filesWritten: number;
  filesRead: number;
  fileBytes: number;
  /** Deliveries that were settled: steps, and what only noted something. */
  settled: number;
  /** Of all processes, the console's too, with their starts. */
  cpuSeconds: number;
  wakes: number;
  /** Requests to Cloud Run, and what it would bill of its instances. */
  requestsTaken: number;
  billedMs: number;
  /** In Firestore. */
  left: Contents;
  /** Of each process: from its start until it listens, and what it holds when the case is over. */
  processes: { readonly service: string; readonly startMs: number; readonly rssBytes: number }[];
}

/** Of a message, beside its data and attributes: when it was published, and its id. Source: cloud.google.com/pubsub/pricing. */
const messageOverheadBytes = 20 + 16;
const leastRequestBytes = 1_000;

export function nothing(): Operations {
  return {
    requests: {},
    trips: {},
    documentsRead: 0,
    documentsWritten: 0,
    documentsDeleted: 0,
    messages: 0,
    messageBytes: 0,
    tasks: 0,
    taskCalls: 0,
    ticks: 0,
    filesWritten: 0,
    filesRead: 0,
    fileBytes: 0,
    settled: 0,
    cpuSeconds: 0,
    wakes: 0,
    requestsTaken: 0,
    billedMs: 0,
    left: { documents: 0, bytes: 0, expiring: 0 },
    processes: [],
  };
}

/** Adds a request that a proxy has seen, with its answer. @param subscribers how many subscriptions each topic has */
export function count(
  operations: Operations,
  engine: Between,
  { method, path, body }: SeenRequest,
  answer: Buffer,
  subscribers: ReadonlyMap<string, number>,
): void {
  const verb = engine === 'firestore' ? path.slice(path.lastIndexOf(':') + 1) : method;
  const name = `${engine} ${engine === 'pubsub' ? 'publish' : verb}`;
  operations.requests[name] = (operations.requests[name] ?? 0) + 1;
  const json = () => JSON.parse(body.toString());
  if (name === 'firestore batchGet') operations.documentsRead += json().documents.length;
  if (name === 'firestore runQuery') {
    const found: readonly { readonly document?: unknown }[] = JSON.parse(answer.toString());
    // One that finds nothing is charged as one.
    operations.documentsRead += Math.max(1, found.filter(({ document }) => document).length);
  }
  if (name === 'firestore commit') {
    for (const write of json().writes) {
      if ('delete' in write) operations.documentsDeleted++;
      else if ('verify' in write) operations.documentsRead++;
      else operations.documentsWritten++;
    }
  }
  if (engine === 'pubsub') {
    const [, topic] = /\/topics\/([^/:]+):publish$/.exec(path)!;
    const { messages }: { readonly messages: readonly Message[] } = json();
    const sizes = messages.map(messageBytes);
    operations.messages += sizes.length;
    operations.messageBytes += Math.max(leastRequestBytes, sum(sizes));
    const deliveries = subscribers.get(topic!) ?? 0;
    operations.messageBytes += deliveries * sum(sizes.map((bytes) => Math.max(leastRequestBytes, bytes)));
  }
  if (engine === 'tasks') {
    operations.taskCalls++;
    if (method === 'POST') operations.tasks++;
  }
  if (engine === 'storage') {
    operations[method === 'GET' ? 'filesRead' : 'filesWritten']++;
    operations.fileBytes += body.length;
  }
}

interface Message {
  readonly data?: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

function messageBytes({ data = '', attributes = {} }: Message): number {
  const told = Object.entries(attributes).map(([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(value));
  return Buffer.byteLength(data, 'base64') + sum(told) + messageOverheadBytes;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Of one vCPU and half a GiB, as the plan gives every service. @param ticks each a start for itself, as a sweep is */
export function usageOf(of: Operations, ticks: Operations): Usage {
  const seconds = (of.billedMs + of.ticks * ticks.billedMs) / 1000;
  return {
    firestoreReads: of.documentsRead + of.ticks * ticks.documentsRead,
    firestoreWrites: of.documentsWritten,
    firestoreDeletes: of.documentsDeleted,
    firestoreExpired: of.left.expiring,
    firestoreStorage: of.left.bytes,
    pubsubBytes: of.messageBytes,
    runCpu: seconds,
    runMemory: seconds / 2,
    runRequests: of.requestsTaken + of.ticks,
    tasks: of.taskCalls + of.ticks,
    scheduler: 0,
    storageWrites: of.filesWritten,
    storageReads: of.filesRead,
    storageBytes: of.fileBytes,
  };
}

/** The middle of each figure. */
export function medianOf(usages: readonly Usage[]): Usage {
  const names = Object.keys(usages[0]!) as Priced[];
  return Object.fromEntries(names.map((name) => [name, median(usages.map((each) => each[name]))])) as Usage;
}
