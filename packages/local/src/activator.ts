import type { PushSlot, PushTarget } from '@dormouse/broker';
import { Instance, type InstanceOptions } from './instance.ts';
import type { ManifestService } from './manifest.ts';

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

const failingBackoff = { minMs: 500, maxMs: 30_000 };

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
  readonly #options: InstanceOptions;
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
  constructor(service: ManifestService, options: InstanceOptions, ports: readonly number[]) {
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
    this.#cancelRetry = clock.after(retryInMs, () => {
      this.#cancelRetry = undefined;
      this.onFree();
    });
  }
}
