import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isAck, type PushOutcome, type PushRequest, type PushSlot, pushContent } from '@dormouse/broker';
import type { Clock, Logger } from '@dormouse/core';
import { logAbout } from './host-log.ts';
import { HttpPushes } from './http-pushes.ts';
import type { ManifestService } from './manifest.ts';
import { PushLine, PushLost, type PushWire } from './push-wire.ts';
import { type InstanceSettings, readyFd } from './serve.ts';
import { ServiceOutput } from './service-output.ts';
import { type Spares, startBundle } from './spares.ts';

const stopTimeoutMs = 1_500;
const abandonGraceMs = 1_000;
/** How long after a connection breaks the end of its process is waited for. */
const deathMs = 2_000;
/** How long the last words of a process may take after its end; a child of its own may hold the pipe open. */
const lastWordsMs = 500;

export interface InstanceOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** How long an instance without work stays awake. */
  readonly idleMs: number;
  /** How long an instance may take until it listens. Default 30 s. */
  readonly startTimeoutMs?: number;
  /** A folder only this user can enter, for the instances' sockets. */
  readonly socketFolder: string;
  /** Processes to take instead of starting one. */
  readonly spares?: Spares | undefined;
  /** What services find in their environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** What an instance of a bundle is told, but for where it listens and whom it serves. */
  readonly settings: Omit<InstanceSettings, 'socketPath' | 'audience'>;
  readonly audienceOf: (service: string) => string;
}

export interface InstanceListener {
  /** A slot came free. */
  onFree(): void;
  /** A push was acked: it works. */
  onAcked(): void;
}

/** One process of a service, from its start to its exit. */
export class Instance {
  readonly exited: Promise<string>;
  readonly port: number | undefined;
  inFlight = 0;
  startMs = 0;
  isListening = false;
  /** It is gone, and nobody had asked for that. */
  crashed = false;
  readonly #service: ManifestService;
  readonly #options: InstanceOptions;
  readonly #child: ChildProcess;
  readonly #output: ServiceOutput;
  readonly #pushes: PushWire;
  readonly #told: InstanceListener;
  #cancelIdle: () => void = () => {};
  /** The host wants it gone. */
  #asked = false;
  /** It takes no more pushes, and goes when it has none left. */
  #retiring = false;
  /** It does not take pushes any more, though nobody asked it to go. */
  #broken = false;

  constructor(
    service: ManifestService,
    number: number,
    port: number | undefined,
    options: InstanceOptions,
    told: InstanceListener,
  ) {
    this.#service = service;
    this.#options = options;
    this.#told = told;
    this.port = port;
    const socketPath = join(options.socketFolder, `${service.name}-${number}`);
    this.#pushes =
      service.run.kind === 'bundle' ? new PushLine(socketPath) : new HttpPushes(port!, service.limits.concurrency);
    this.#child = this.#spawn(socketPath);
    this.exited = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('exit', (code, signal) => {
        this.crashed = !this.#asked;
        this.#broken = true;
        this.#cancelIdle();
        this.#pushes.close();
        this.#killGroup();
        const reason = this.#asked ? 'retired' : signal ? `killed by ${signal}` : `exit ${code}`;
        const timer = setTimeout(() => resolve(reason), lastWordsMs);
        this.#child.on('close', () => {
          clearTimeout(timer);
          resolve(reason);
        });
      });
    });
    const log = logAbout(options.log, { service: service.name, pid: this.pid });
    this.#output = new ServiceOutput(this.#child, log, options.clock);
  }

  /** The last that it wrote, for whoever must know why it failed. */
  get output(): string {
    return this.#output.last;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get free(): number {
    return this.#asked || this.#retiring || this.#broken ? 0 : this.#service.limits.concurrency - this.inFlight;
  }

  /** Resolves when it listens. */
  async run(): Promise<void> {
    const startedAt = performance.now();
    const { promise: late, reject } = Promise.withResolvers<never>();
    const { startTimeoutMs = 30_000 } = this.#options;
    const timer = setTimeout(
      () => reject(new Error(`did not listen within ${startTimeoutMs / 1000} s`)),
      startTimeoutMs,
    );
    try {
      const died = this.exited.then((reason) => {
        throw new Error(`${reason} before it listened`);
      });
      await Promise.race([this.#listening(), died, late]);
    } catch (error) {
      this.#kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.startMs = Math.round(performance.now() - startedAt);
    this.isListening = true;
  }

  take(): PushSlot {
    this.inFlight++;
    this.#cancelIdle();
    const free = () => {
      this.inFlight--;
      this.#told.onFree();
      if (this.#retiring && this.inFlight === 0) void this.stop();
      else this.idleFrom();
    };
    return { push: (push) => this.#push(push).finally(free), release: free };
  }

  /** Starts counting idle time, if it is idle. */
  idleFrom(): void {
    this.#cancelIdle();
    if (this.inFlight > 0 || this.#asked || this.#broken) return;
    const { clock, idleMs } = this.#options;
    this.#cancelIdle = clock.after(idleMs, () => void this.stop());
  }

  /** Lets it finish what it holds, and stops it. */
  retire(): void {
    this.#retiring = true;
    if (this.inFlight === 0) void this.stop();
  }

  get isRetired(): boolean {
    return this.#retiring;
  }

  async stop(): Promise<void> {
    this.#asked = true;
    this.#cancelIdle();
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#kill(), stopTimeoutMs);
    await this.exited;
    clearTimeout(timer);
  }

  #kill(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#killGroup();
  }

  /** The process and whatever it started: a shell's or npm's children outlive it. */
  #killGroup(): void {
    try {
      if (this.pid !== undefined) process.kill(-this.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Takes no more pushes: it answers none. Its exit, made sure of, brings another. */
  #abandon(graceMs: number): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#cancelIdle();
    setTimeout(() => this.#kill(), graceMs).unref();
  }

  #spawn(socketPath: string): ChildProcess {
    const { run } = this.#service;
    const { settings, environment, spares, audienceOf } = this.#options;
    if (run.kind === 'bundle') {
      const own: InstanceSettings = { ...settings, socketPath, audience: audienceOf(this.#service.name) };
      const instance = JSON.stringify(own);
      const spare = spares?.take({ file: run.file, instance });
      return spare ?? startBundle(run.file, { ...environment, DORMOUSE_INSTANCE: instance });
    }
    // A foreign command knows nothing of our stdin. The shell beside it does: when the pipe closes, the command must go.
    // What the shell itself has to say ("Terminated") is not the command's.
    const watch =
      'exec 3<&0; "$@" </dev/null 3<&- & child=$!; exec 2>/dev/null; (cat <&3 >/dev/null; kill "$child" 2>/dev/null; sleep 2; kill -KILL -$$) & wait "$child"';
    return spawn('/bin/sh', ['-c', watch, 'sh', ...run.command], {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: run.folder,
      env: { ...process.env, ...environment, PORT: String(this.port) },
    });
  }

  async #listening(): Promise<void> {
    if (this.#service.run.kind === 'bundle') {
      return new Promise((resolve) => this.#child.stdio[readyFd]!.once('data', () => resolve()));
    }
    while (!(await accepts(this.port!))) {
      if (this.#asked || this.#broken) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #push(push: PushRequest): Promise<PushOutcome> {
    const { timeoutMs } = push;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${timeoutMs / 1000} s`));
      this.#abandon(0);
    }, timeoutMs);
    try {
      const status = await Promise.race([this.#pushes.send(pushContent(push)), late]);
      if (!isAck(status)) return { acked: false, reason: `HTTP ${status}` };
      this.#told.onAcked();
      return { acked: true };
    } catch (error) {
      const reason = (error as Error).message;
      if (error instanceof PushLost && error.unseen) {
        // Nobody listens there any more: the process is about to be gone.
        this.#abandon(abandonGraceMs);
        return { acked: false, reason, unseen: true };
      }
      // It closes a connection that holds a push in no other way than by its end, which may take a moment to be told.
      const died = await Promise.race([this.exited.then(() => !this.#asked), pause(deathMs)]);
      return { acked: false, reason, died };
    } finally {
      clearTimeout(timer);
    }
  }
}

function pause(forMs: number): Promise<false> {
  // Nothing is kept alive for it.
  return new Promise((resolve) => setTimeout(resolve, forMs, false).unref());
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      // Where nobody listens, a connection can meet itself: the machine may call from this very port (seen after 14,182 tries).
      const isItself = socket.localPort === port;
      socket.destroy();
      resolve(!isItself);
    });
    socket.on('error', () => resolve(false));
  });
}
