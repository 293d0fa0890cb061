import { type ChildProcess, spawn } from 'node:child_process';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isAck, type PushOutcome, type PushRequest, type PushSlot, type PushTarget, pushBody } from '@dormouse/broker';
import type { Clock, Logger } from '@dormouse/core';
import type { InstanceSettings } from './instance.ts';
import type { ManifestService } from './manifest.ts';

export interface ActivatorOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** How long an instance without work stays awake. */
  readonly idleMs: number;
  /** A folder only this user can enter, for the instances' sockets. */
  readonly socketFolder: string;
  /** Where V8 keeps compiled bundles, so that a wake does not compile. */
  readonly compileCacheFolder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** What an instance of a bundle is told, but for where it listens and whom it serves. */
  readonly settings: Omit<InstanceSettings, 'socketPath' | 'audience'>;
  readonly audienceOf: (service: string) => string;
}

export interface ServiceStatus {
  readonly name: string;
  readonly state: 'asleep' | 'waking' | 'awake' | 'failing' | 'inline';
  /** Epoch milliseconds. */
  readonly since: number;
  readonly instances: number;
  readonly inFlight: number;
  readonly wakes: number;
  readonly lastExit: { readonly at: number; readonly reason: string } | undefined;
}

const startTimeoutMs = 30_000;
const stopTimeoutMs = 1_500;
const abandonGraceMs = 1_000;
const failingBackoff = { minMs: 500, maxMs: 30_000 };
const outputKept = 2_000;
const longestLine = 10_000;

/**
 * Wakes, feeds, scales and retires the instances of one service.
 *
 *   asleep --a message waits--> waking --it listens--> awake --idle--> asleep
 *                                  \--exits before it listens--> failing --backoff--> waking
 *
 * Invariants: a push holds a slot of an instance that listens, so nothing is leased while a service wakes or fails; at
 * most one instance starts at a time, and another only when the last one is up and all slots are still taken; an
 * instance stops only when it holds no push.
 */
export class ServicePool implements PushTarget {
  readonly service: ManifestService;
  onFree: () => void = () => {};
  readonly #options: ActivatorOptions;
  readonly #ports: readonly number[];
  readonly #instances = new Set<Instance>();
  #starting: Instance | undefined;
  #wakes = 0;
  #failures = 0;
  #since: number;
  #lastExit: ServiceStatus['lastExit'];
  #cancelRetry: (() => void) | undefined;
  #stopped = false;

  /** @param ports for a foreign command: one for each instance it may have */
  constructor(service: ManifestService, options: ActivatorOptions, ports: readonly number[]) {
    this.service = service;
    this.#options = options;
    this.#ports = ports;
    this.#since = options.clock.now();
  }

  status(): ServiceStatus {
    const awake = this.#instances.size > 0;
    return {
      name: this.service.name,
      state: awake ? 'awake' : this.#starting ? 'waking' : this.#failures > 0 ? 'failing' : 'asleep',
      since: this.#since,
      instances: this.#instances.size,
      inFlight: [...this.#instances].reduce((sum, { inFlight }) => sum + inFlight, 0),
      wakes: this.#wakes,
      lastExit: this.#lastExit,
    };
  }

  take(): PushSlot | undefined {
    if (this.#stopped) return undefined;
    let freest: Instance | undefined;
    for (const instance of this.#instances) {
      if (instance.free > 0 && (!freest || instance.free > freest.free)) freest = instance;
    }
    if (freest) return freest.take();
    this.#wake();
    return undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry?.();
    await Promise.all(
      [...this.#instances, ...(this.#starting ? [this.#starting] : [])].map((instance) => instance.stop()),
    );
  }

  #wake(): void {
    const { limits, name, run } = this.service;
    if (this.#starting || this.#cancelRetry || this.#instances.size >= limits.maxInstances) return;
    const port = this.#ports.find((port) => ![...this.#instances].some((instance) => instance.port === port));
    const number = ++this.#wakes;
    let instance: Instance;
    try {
      instance = new Instance(this.service, number, port, this.#options, {
        onFree: () => this.onFree(),
        onAcked: () => {
          this.#failures = 0;
        },
      });
    } catch (error) {
      // No process to be had: the machine is out of memory or file descriptors.
      this.#lastExit = { at: this.#options.clock.now(), reason: (error as Error).message };
      this.#backOff();
      return;
    }
    this.#starting = instance;
    this.#options.log.info('instance.starting', { service: name, number, kind: run.kind });
    void instance.run().then(
      () => this.#onListening(instance),
      (error: Error) => this.#onFailedStart(instance, error),
    );
    void instance.exited.then((reason) => this.#onExit(instance, reason));
  }

  #onListening(instance: Instance): void {
    this.#starting = undefined;
    if (this.#instances.size === 0) this.#since = this.#options.clock.now();
    this.#instances.add(instance);
    this.#options.log.info('instance.woken', {
      service: this.service.name,
      pid: instance.pid,
      startMs: instance.startMs,
    });
    this.onFree();
    instance.idleFrom();
  }

  #onFailedStart(instance: Instance, error: Error): void {
    const { clock } = this.#options;
    this.#starting = undefined;
    if (this.#stopped) return;
    if (this.#failures === 0) this.#since = clock.now();
    this.#lastExit = { at: clock.now(), reason: `${error.message}${instance.output && `: ${instance.output}`}` };
    this.#backOff();
  }

  #onExit(instance: Instance, reason: string): void {
    if (!this.#instances.delete(instance)) return;
    const { clock, log } = this.#options;
    this.#lastExit = { at: clock.now(), reason };
    if (this.#instances.size === 0) this.#since = clock.now();
    log.info('instance.exited', { service: this.service.name, pid: instance.pid, reason });
    if (instance.crashed) this.#backOff();
    else this.onFree();
  }

  /** Its messages wait in the log meanwhile, with no lease running and no attempt counted. */
  #backOff(): void {
    const { clock, log } = this.#options;
    if (this.#stopped || this.#cancelRetry) return;
    const retryInMs = Math.min(failingBackoff.maxMs, failingBackoff.minMs * 2 ** this.#failures++);
    log.error('instance.failed', {
      service: this.service.name,
      ...this.#lastExit,
      failures: this.#failures,
      retryInMs,
    });
    this.#cancelRetry = clock.at(clock.now() + retryInMs, () => {
      this.#cancelRetry = undefined;
      this.onFree();
    });
  }
}

interface InstanceListener {
  /** A slot came free. */
  onFree(): void;
  /** A push was acked: it works. */
  onAcked(): void;
}

/** One process of a service, from its start to its exit. */
class Instance {
  readonly exited: Promise<string>;
  readonly port: number | undefined;
  inFlight = 0;
  startMs = 0;
  /** The last of what it wrote to stderr. */
  output = '';
  /** It is gone, and nobody had asked for that. */
  crashed = false;
  readonly #service: ManifestService;
  readonly #options: ActivatorOptions;
  readonly #child: ChildProcess;
  readonly #address: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly #agent: Agent;
  readonly #told: InstanceListener;
  #cancelIdle: () => void = () => {};
  /** The host wants it gone. */
  #asked = false;
  /** It does not take pushes any more, though nobody asked it to go. */
  #broken = false;

  constructor(
    service: ManifestService,
    number: number,
    port: number | undefined,
    options: ActivatorOptions,
    told: InstanceListener,
  ) {
    this.#service = service;
    this.#options = options;
    this.#told = told;
    this.port = port;
    const socketPath = join(options.socketFolder, `${service.name}-${number}`);
    this.#address = service.run.kind === 'bundle' ? { socketPath } : { host: '127.0.0.1', port: port! };
    this.#agent = new Agent({ keepAlive: true, maxSockets: service.limits.concurrency });
    this.#child = this.#spawn(socketPath);
    this.exited = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('exit', (code, signal) => {
        this.crashed = !this.#asked;
        this.#broken = true;
        this.#cancelIdle();
        this.#agent.destroy();
        this.#killGroup();
        resolve(this.#asked ? 'retired' : signal ? `killed by ${signal}` : `exit ${code}`);
      });
    });
    // Kept for whoever must know why it failed; all of it goes to the log.
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.output = (this.output + chunk).slice(-outputKept);
    });
    lines(this.#child.stderr!, (line) =>
      options.log.info('instance.said', { service: service.name, pid: this.pid, line }),
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get free(): number {
    return this.#asked || this.#broken ? 0 : this.#service.limits.concurrency - this.inFlight;
  }

  /** Resolves when it listens. */
  async run(): Promise<void> {
    const startedAt = performance.now();
    const { promise: late, reject } = Promise.withResolvers<never>();
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
  }

  take(): PushSlot {
    this.inFlight++;
    this.#cancelIdle();
    const free = () => {
      this.inFlight--;
      this.#told.onFree();
      this.idleFrom();
    };
    return { push: (push) => this.#push(push).finally(free), release: free };
  }

  /** Starts counting idle time, if it is idle. */
  idleFrom(): void {
    this.#cancelIdle();
    if (this.inFlight > 0 || this.#asked || this.#broken) return;
    const { clock, idleMs } = this.#options;
    this.#cancelIdle = clock.at(clock.now() + idleMs, () => void this.stop());
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
    const { settings, environment, compileCacheFolder, audienceOf } = this.#options;
    // In a process group of its own: stopping is the host's business, not the terminal's.
    const common = { detached: true, stdio: ['pipe', 'pipe', 'pipe'] as const };
    if (run.kind === 'bundle') {
      const instance: InstanceSettings = { ...settings, socketPath, audience: audienceOf(this.#service.name) };
      const own = { DORMOUSE_INSTANCE: JSON.stringify(instance), NODE_COMPILE_CACHE: compileCacheFolder };
      return spawn(process.execPath, [run.file], {
        ...common,
        stdio: [...common.stdio],
        env: { ...process.env, ...environment, ...own },
      });
    }
    // A foreign command knows nothing of our stdin. The shell beside it does: when the pipe closes, the command must go.
    const watch =
      'exec 3<&0; "$@" </dev/null 3<&- & child=$!; (cat <&3 >/dev/null; kill "$child" 2>/dev/null; sleep 2; kill -KILL -$$) & wait "$child"';
    return spawn('/bin/sh', ['-c', watch, 'sh', ...run.command], {
      ...common,
      stdio: [...common.stdio],
      cwd: run.folder,
      env: { ...process.env, ...environment, PORT: String(this.port) },
    });
  }

  async #listening(): Promise<void> {
    if (this.#service.run.kind === 'bundle') {
      return new Promise((resolve) => lines(this.#child.stdout!, (line) => line === 'listening' && resolve()));
    }
    this.#child.stdout!.resume();
    while (!(await accepts(this.port!))) {
      if (this.#asked || this.#broken) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  #push({ subscription, lease, authorization, timeoutMs }: PushRequest): Promise<PushOutcome> {
    return new Promise((resolve, reject) => {
      const body = pushBody(subscription, lease);
      let connected = false;
      const late = setTimeout(() => {
        outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`));
        this.#abandon(0);
      }, timeoutMs);
      const outgoing = request(
        {
          ...this.#address,
          path: '/pubsub-push',
          method: 'POST',
          agent: this.#agent,
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            ...(authorization !== undefined && { authorization }),
          },
        },
        (response) => {
          const { statusCode = 0 } = response;
          response.resume();
          response.on('error', reject);
          response.on('end', () => {
            if (isAck(statusCode)) this.#told.onAcked();
            resolve(isAck(statusCode) ? { acked: true } : { acked: false, reason: `HTTP ${statusCode}` });
          });
        },
      );
      outgoing.on('socket', (socket) => {
        connected = !socket.connecting;
        socket.once('connect', () => {
          connected = true;
        });
      });
      outgoing.on('error', (error) => {
        if (connected) return reject(error);
        // Nobody listens there any more: the process is about to be gone.
        this.#abandon(abandonGraceMs);
        resolve({ acked: false, reason: error.message, unseen: true });
      });
      outgoing.on('close', () => clearTimeout(late));
      outgoing.end(body);
    });
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function lines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk).split('\n');
    // A line without end is kept as far as anyone would read it.
    rest = parts.pop()!.slice(0, longestLine);
    for (const part of parts) if (part !== '') onLine(part);
  });
}
