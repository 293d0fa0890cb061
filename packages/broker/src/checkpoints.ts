import { closeSync, openSync, readSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

/** As many pages of the write-ahead log, 4 MB, and they go into the database. */
const everyFrames = 1_000;
const idleMs = 10_000;
/** Where the index beside the log says how many frames it has. Source: sqlite.org/walformat.html, 2.1. */
const framesOffset = 16;

/**
 * Moves what the write-ahead log holds into the database on a thread of its own, since that waits for the disk twice. The
 * thread runs while there is something to move, and costs memory only then.
 *
 * A checkpoint takes no lock that the writer needs. What is written while it runs is left for the next; the log starts over when
 * a checkpoint has caught up with it. Where none ever does, SQLite itself stops the writer for the rest at `restartFrames`.
 */
export class Checkpoints {
  /** For `wal_autocheckpoint`: 64 MB. */
  static readonly restartFrames = 16_000;

  readonly #path: string;
  readonly #frames = new Uint32Array(1);
  #fd: number | undefined;
  #worker: Worker | undefined;
  #running = false;
  /** Frames there were when the last checkpoint began. */
  #done = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Something was written. */
  notice(): void {
    if (this.#running) return;
    this.#fd ??= openSync(`${this.#path}-shm`, 'r');
    readSync(this.#fd, this.#frames, 0, 4, framesOffset);
    const frames = this.#frames[0]!;
    // It started over.
    if (frames < this.#done) this.#done = 0;
    if (frames - this.#done < everyFrames) return;
    this.#done = frames;
    this.#running = true;
    this.#worker ??= this.#start();
    this.#worker.postMessage(undefined);
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    await this.#worker?.terminate();
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
      workerData: this.#path,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 16 },
    });
    worker.unref();
    // A checkpoint that fails loses nothing: the log grows, until SQLite moves it, or says what is wrong with the disk.
    worker.on('error', () => this.#forget(worker));
    worker.on('exit', () => this.#forget(worker));
    worker.on('message', () => {
      this.#running = false;
      clearTimeout(this.#idle);
      this.#idle = setTimeout(() => {
        if (!this.#running) void worker.terminate();
      }, idleMs);
      this.#idle.unref();
    });
    return worker;
  }

  #forget(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#running = false;
  }
}
