import type { PushSlot, PushTarget } from '@dormouse/broker';
import { redacted } from '@dormouse/core';
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
  /** Why it does not work, from its first failure on until a push is acked again. Its messages wait. */
  readonly failing?: ServiceFailure;
}

export interface ServiceFailure {
  /** In a row: starts that came to nothing, and deaths that nobody had asked for. */
  readonly failures: number;
  readonly since: number;
  readonly reason: string;
  /** The last that it wrote, without secrets and personal data. */
  readonly output: string;
  /** When it is tried again, where something waits for it. Absent where its code must change first. */
  readonly retryAt?: number;
}

const failingBackoff = { minMs: 500, maxMs: 30_000 };

/**
 * Wakes, feeds, scales and retires the instances of one service.
 *
 *   asleep --a message waits--> waking --it listens--> awake --idle--> asleep
 *      failing <--does not listen, or dies--/-----------------------/
 *      failing --a message waits, backoff is over--> failing (trying) --it listens--> awake --a push is acked: no failure more
 *
 * Whatever it is, `hold` retires all, and nothing wakes until `renew` brings other code.
 *
 * A message that may be what a process died of goes to a process beside the others, alone.
 *
 * Invariants: a push holds a slot of an instance that listens, so nothing is leased while a service wakes or fails; at
 * most one instance starts at a time, and another only when the last one is up and all slots are still taken; an
 * instance stops only when it holds no push.
 */
export class ServicePool implements PushTarget {
  onFree: () => void = () => {};
  #service: ManifestService;
  readonly #options: InstanceOptions;
  readonly #ports: readonly number[];
  readonly #instances = new Set<Instance>();
  #starting: Instance | undefined;
  /** Beside the others: for messages that may be what a process died of, one at a time. */
  #solitary: Instance | undefined;
  #wakes = 0;
  #failure: ServiceFailure | undefined;
  #since: number;
  #lastExit: ServiceStatus['lastExit'];
  #cancelRetry: (() => void) | undefined;
  #stopped = false;
  /** Its code is being replaced: nothing is taken. */
  #held = false;

  /** @param ports for a foreign command: one for each instance it may have */
  constructor(service: ManifestService, options: InstanceOptions, ports: readonly number[]) {
    this.#service = service;
    this.#options = options;
    this.#ports = ports;
    this.#since = options.clock.now();
  }

  status(): ServiceStatus {
    const awake = this.#instances.size > 0;
    return {
      name: this.#service.name,
      state: awake ? 'awake' : this.#failure ? 'failing' : this.#starting ? 'waking' : 'asleep',
      since: awake ? this.#since : (this.#failure?.since ?? this.#since),
      instances: this.#instances.size,
      inFlight: this.#all().reduce((sum, { inFlight }) => sum + inFlight, 0),
      wakes: this.#wakes,
      lastExit: this.#lastExit,
      ...(this.#failure && { failing: this.#failure }),
    };
  }

  get slots(): number {
    const { concurrency, maxInstances } = this.#service.limits;
    return concurrency * maxInstances;
  }

  take(): PushSlot | undefined {
    if (this.#stopped || this.#held) return undefined;
    let freest: Instance | undefined;
    for (const instance of this.#instances) {
      if (instance.free > 0 && (!freest || instance.free > freest.free)) freest = instance;
    }
    if (freest) return freest.take();
    this.#wake();
    return undefined;
  }

  takeAlone(): PushSlot | undefined {
    // A command has only so many ports.
    if (this.#service.run.kind === 'command') return this.take();
    if (this.#stopped || this.#held || this.#cancelRetry) return undefined;
    const solitary = this.#solitary;
    if (!solitary) this.#wakeSolitary();
    return solitary?.isListening && solitary.inFlight === 0 && solitary.free > 0 ? solitary.take() : undefined;
  }

  /** Its code is being replaced: what runs finishes what it holds and goes, and messages wait until `renew`. */
  hold(failure?: { readonly reason: string; readonly output: string }): void {
    const now = this.#options.clock.now();
    if (!this.#held) this.#options.log.info('service.held', { service: this.#service.name });
    this.#held = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#failure = failure && { failures: 1, since: now, ...failure };
    for (const instance of this.#all()) instance.retire();
  }

  /** There is new code: the next message wakes it. */
  renew(service: ManifestService): void {
    this.#service = service;
    if (this.#held) this.#options.log.info('service.renewed', { service: service.name });
    this.#held = false;
    this.#failure = undefined;
    this.onFree();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry?.();
    await Promise.all(this.#all().map((instance) => instance.stop()));
  }

  #all(): Instance[] {
    return [...this.#instances, this.#starting, this.#solitary].filter((instance) => instance !== undefined);
  }

  #wake(): void {
    const { limits } = this.#service;
    if (this.#starting || this.#cancelRetry || this.#instances.size >= limits.maxInstances) return;
    const port = this.#ports.find((port) => ![...this.#instances].some((instance) => instance.port === port));
    const instance = this.#start(port);
    if (!instance) return;
    this.#starting = instance;
    void instance.run().then(
      () => this.#onListening(instance),
      (error: Error) => this.#onFailedStart(instance, error),
    );
    void instance.exited.then((reason) => this.#onExit(instance, reason));
  }

  #wakeSolitary(): void {
    const instance = this.#start(undefined);
    if (!instance) return;
    this.#solitary = instance;
    void instance.run().then(
      () => this.#onUp(instance),
      (error: Error) => this.#onFailedStart(instance, error),
    );
    void instance.exited.then((reason) => {
      this.#solitary = undefined;
      // That it may die is why it is alone: no failure of the service.
      this.#tell('instance.exited', instance, { reason });
      this.onFree();
    });
  }

  #start(port: number | undefined): Instance | undefined {
    const number = ++this.#wakes;
    try {
      const instance = new Instance(this.#service, number, port, this.#options, {
        onFree: () => this.onFree(),
        onAcked: () => this.#recovered(),
      });
      this.#tell('instance.starting', instance, { number, kind: this.#service.run.kind });
      return instance;
    } catch (error) {
      // No process to be had: the machine is out of memory or file descriptors.
      this.#backOff((error as Error).message, '');
      return undefined;
    }
  }

  #tell(moment: string, { pid }: Instance, facts: Record<string, unknown>): void {
    this.#options.log.info(moment, { service: this.#service.name, pid, ...facts });
  }

  #onListening(instance: Instance): void {
    this.#starting = undefined;
    if (this.#instances.size === 0) this.#since = this.#options.clock.now();
    this.#instances.add(instance);
    this.#onUp(instance);
  }

  #onUp(instance: Instance): void {
    this.#tell('instance.woken', instance, { startMs: instance.startMs });
    this.onFree();
    instance.idleFrom();
  }

  #onFailedStart(instance: Instance, error: Error): void {
    if (this.#starting === instance) this.#starting = undefined;
    if (instance.isRetired) this.onFree();
    else if (!this.#stopped) this.#backOff(error.message, instance.output);
  }

  #onExit(instance: Instance, reason: string): void {
    if (!this.#instances.delete(instance)) return;
    const { clock } = this.#options;
    if (this.#instances.size === 0) this.#since = clock.now();
    this.#tell('instance.exited', instance, { reason });
    if (instance.crashed) this.#backOff(reason, instance.output);
    else {
      this.#lastExit = { at: clock.now(), reason };
      // It had nothing to do, and did nothing wrong.
      this.#recovered();
      this.onFree();
    }
  }

  /** Its messages wait in the log meanwhile, with no lease running and no attempt counted. */
  #backOff(reason: string, said: string): void {
    const { clock, log } = this.#options;
    const now = clock.now();
    this.#lastExit = { at: now, reason };
    // Of several that fail at once, one counts.
    if (this.#stopped || this.#cancelRetry) return;
    const failures = (this.#failure?.failures ?? 0) + 1;
    const retryInMs = Math.min(failingBackoff.maxMs, failingBackoff.minMs * 2 ** (failures - 1));
    const output = redacted(said);
    this.#failure = { failures, since: this.#failure?.since ?? now, reason, output, retryAt: now + retryInMs };
    log.error('service.failing', { service: this.#service.name, failures, reason, output, retryInMs });
    this.#cancelRetry = clock.after(retryInMs, () => {
      this.#cancelRetry = undefined;
      this.onFree();
    });
  }

  #recovered(): void {
    if (!this.#failure) return;
    const { failures } = this.#failure;
    this.#failure = undefined;
    this.#options.log.info('service.recovered', { service: this.#service.name, failures });
  }
}
