import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '@dormouse/core';
import { type InstanceSettings, readyFd } from './serve.ts';

/** A process that runs a file of the bundler's, in a group of its own: stopping it is the host's business, not the terminal's. */
export function startBundle(file: string, environment: Readonly<Record<string, string>>): ChildProcess {
  return spawn(process.execPath, [file], {
    detached: true,
    // The fourth is `readyFd`.
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...environment, DORMOUSE_PLATFORM: 'local' },
  });
}

/** How long after a service listens its first message is handled: what starts meanwhile makes both slower. */
const firstPushMs = 50;

/** What a spare is told on its stdin, as one line of JSON, to become an instance. */
export interface Calling {
  /** The bundle of the service. */
  readonly file: string;
  /** For the environment variable DORMOUSE_INSTANCE. */
  readonly instance: string;
}

/**
 * Processes that have started Node, loaded what all services share and rehearsed a push, and become whichever service is
 * needed next. One that is taken is made up for when its service has listened for a moment, so that the two do not
 * compete.
 */
export class Spares {
  readonly #file: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #settings: string;
  readonly #log: Logger;
  readonly #waiting = new Set<ChildProcess>();
  #stopped = false;

  /**
   * @param count how many wait at a time
   * @param settings for the rehearsal
   */
  constructor(
    count: number,
    file: string,
    environment: Readonly<Record<string, string>>,
    settings: Omit<InstanceSettings, 'socketPath' | 'audience'>,
    log: Logger,
  ) {
    this.#file = file;
    this.#environment = environment;
    this.#settings = JSON.stringify(settings);
    this.#log = log;
    for (let n = 0; n < count; n++) this.#start();
  }

  /** One that waits, become this service; undefined where none does. */
  take(calling: Calling): ChildProcess | undefined {
    const [spare] = this.#waiting;
    if (!spare) return undefined;
    this.#waiting.delete(spare);
    let due = true;
    const makeUp = () => {
      if (due) this.#start();
      due = false;
    };
    spare.stdio[readyFd]!.once('data', () => setTimeout(makeUp, firstPushMs));
    spare.once('exit', makeUp);
    spare.stdin!.write(`${JSON.stringify(calling)}\n`);
    return spare;
  }

  stop(): void {
    this.#stopped = true;
    for (const spare of this.#waiting) spare.stdin!.end();
  }

  #start(): void {
    if (this.#stopped) return;
    // Not made up for: without it services start as they would, and a broken one is not started over and over.
    const lost = (facts: Record<string, unknown>) => {
      if (!this.#stopped) this.#log.warn('spare.lost', facts);
    };
    let spare: ChildProcess;
    try {
      spare = startBundle(this.#file, { ...this.#environment, DORMOUSE_INSTANCE: this.#settings });
    } catch (error) {
      // No process to be had: the machine is out of memory.
      lost({ reason: (error as Error).message });
      return;
    }
    this.#waiting.add(spare);
    const gone = (reason: string) => {
      if (this.#waiting.delete(spare)) lost({ pid: spare.pid, reason });
    };
    // Without file descriptors it has no streams either, and says so here.
    spare.on('error', (error) => gone(error.message));
    spare.on('exit', (code, signal) => gone(signal ? `killed by ${signal}` : `exit ${code}`));
    // A write to one that is dying is answered by its exit.
    spare.stdin?.on('error', () => {});
    this.#log.info('spare.started', { pid: spare.pid });
  }
}
