import { Worker } from 'node:worker_threads';
import { BrokerError, badRequest } from '../broker-error.ts';
import type { PubsubMessage, StoredMessage } from '../log.ts';
import type { Udf } from './message-transform.ts';
import type { UdfMetadata } from './sandbox.ts';

/** What became of a message: another, nothing on purpose, or nothing because a function failed. */
export interface Outcome {
  /** Base64. */
  readonly data?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly filtered?: true;
  readonly failed?: string;
}

/** A message, and what its functions may know of it. */
export interface Transformed {
  readonly data: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly metadata: UdfMetadata;
}

export interface WorkerRequest {
  readonly id: number;
  readonly udfs: readonly Udf[];
  readonly messages: readonly Transformed[];
  /** At which of the messages a worker had to be stopped. */
  readonly hung: number[];
  readonly untilFailure: boolean;
}

export interface WorkerResponse {
  readonly id: number;
  readonly outcomes: readonly Outcome[];
}

export interface WorkerData {
  /** The message that is worked on, and a number that is odd while its functions run, another one for each. */
  readonly progress: Int32Array;
}

interface Pending {
  readonly request: WorkerRequest;
  readonly resolve: (outcomes: readonly Outcome[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Functions have 500 ms of the processor, and are interrupted then; but some loops of the engine's own are not, and end with their thread. */
const watchMs = 2_000;
/** The thread goes when there was nothing to do for so long. */
const idleMs = 60_000;

/**
 * Runs users' functions on messages, on a thread of its own, which comes with the first and goes after a minute without: they
 * may take half a second each, and the broker's thread must not wait. Requests are worked on one after the other.
 */
export class Transforms {
  readonly #pending = new Map<number, Pending>();
  readonly #progress = new Int32Array(new SharedArrayBuffer(8));
  #count = 0;
  #worker: Worker | undefined;
  #watch: NodeJS.Timeout | undefined;
  #seen = 0;
  /** What the process had used of the processor then. */
  #usedMs = 0;
  #idleMs = 0;
  #closed = false;

  /**
   * An outcome for each message. Of no messages: one, that says whether the functions load.
   * @param untilFailure what comes after the first that fails is left out
   */
  run(udfs: readonly Udf[], messages: readonly Transformed[], untilFailure = false): Promise<readonly Outcome[]> {
    if (this.#closed) return Promise.reject(new BrokerError('UNAVAILABLE', 'this broker stops'));
    return new Promise((resolve, reject) => {
      const request = { id: ++this.#count, udfs, messages, hung: [], untilFailure };
      this.#pending.set(request.id, { request, resolve, reject });
      this.#worker ??= this.#start();
      this.#worker.postMessage(request);
    });
  }

  /**
   * What is published to a topic, as its functions leave it; undefined where they filter a message out.
   * @throws BrokerError for all where a function fails
   */
  async publishing(
    topic: string,
    udfs: readonly Udf[],
    messages: readonly PubsubMessage[],
  ): Promise<(PubsubMessage | undefined)[]> {
    const seen = messages.map(({ data, attributes, orderingKey }) => ({
      data,
      attributes,
      metadata: orderingKey === undefined ? {} : { ordering_key: orderingKey },
    }));
    const outcomes = await this.run(udfs, seen, true);
    return outcomes.map(({ data, attributes, filtered, failed }, index) => {
      if (failed !== undefined) {
        throw new BrokerError(
          'INVALID_ARGUMENT',
          `messages[${index}] could not be transformed for topic "${topic}": ${failed}. None is published`,
        );
      }
      return filtered ? undefined : { ...messages[index]!, data: data!, attributes: attributes! };
    });
  }

  /** Whether each function is there and its code runs. @param whose `topic "projects/p/topics/t"`. @throws BrokerError INVALID_ARGUMENT */
  async check(whose: string, udfs: readonly Udf[]): Promise<void> {
    if (udfs.length === 0) return;
    const [outcome] = await this.run(udfs, []);
    if (outcome?.failed !== undefined) {
      throw badRequest('message_transforms', `${whose}: messageTransforms: ${outcome.failed}`);
    }
  }

  close(): void {
    this.#closed = true;
    this.#stop();
    for (const { reject } of this.#pending.values()) reject(new BrokerError('UNAVAILABLE', 'this broker stops'));
    this.#pending.clear();
  }

  #start(): Worker {
    const workerData: WorkerData = { progress: this.#progress };
    this.#progress.fill(0);
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData });
    worker.on('message', ({ id, outcomes }: WorkerResponse) => {
      this.#pending.get(id)?.resolve(outcomes);
      this.#pending.delete(id);
    });
    worker.on('error', (error) => {
      if (worker === this.#worker) this.#recover(error);
    });
    worker.unref();
    this.#seen = 0;
    this.#idleMs = 0;
    // Of the machine's time, whatever clock the broker has: so is what the thread does.
    this.#watch = setInterval(() => this.#look(), watchMs).unref();
    return worker;
  }

  #look(): void {
    const running = Atomics.load(this.#progress, 1);
    if (running % 2 === 1 && running === this.#seen) {
      // On a machine that has other work it may have hardly run.
      if (usedMs() - this.#usedMs >= watchMs / 2) this.#recover();
      return;
    }
    if (this.#pending.size === 0) {
      this.#idleMs += watchMs;
      if (this.#idleMs >= idleMs) this.#stop();
    } else this.#idleMs = 0;
    this.#seen = running;
    this.#usedMs = usedMs();
  }

  /** The thread hangs in a function, or died of one: another does what is left, without that message. */
  #recover(error?: unknown): void {
    const isRunning = Atomics.load(this.#progress, 1) % 2 === 1;
    this.#stop();
    const [first] = this.#pending.values();
    if (!first) return;
    if (isRunning) first.request.hung.push(Atomics.load(this.#progress, 0));
    else {
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
      return;
    }
    this.#worker = this.#start();
    for (const { request } of this.#pending.values()) this.#worker.postMessage(request);
  }

  #stop(): void {
    clearInterval(this.#watch);
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** By all threads of this process: a function that hangs takes a whole processor, if it can have it. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** What a subscription's functions see. */
export function deliveredMessage(message: StoredMessage): Transformed {
  const { data, attributes, messageId, publishTime, orderingKey } = message;
  const metadata = {
    message_id: messageId,
    // Without fractions, as the description has it.
    publish_time: publishTime.replace(/\.\d+Z$/, 'Z'),
    ...(orderingKey !== undefined && { ordering_key: orderingKey }),
  };
  return { data, attributes, metadata };
}
