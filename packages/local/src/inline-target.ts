import type { PushOutcome, PushSlot, PushTarget } from '@dormouse/broker';
import { causeOf, deliveryOf, type Endpoint } from '@dormouse/core';
import type { ServiceStatus } from './activator.ts';
import type { ManifestService } from './manifest.ts';

/** A service placed inside the host: the same step, without process, HTTP or token. */
export class InlineTarget implements PushTarget {
  readonly service: ManifestService;
  onFree: () => void = () => {};
  readonly #endpoint: Endpoint;
  readonly #since: number;
  #inFlight = 0;

  constructor(service: ManifestService, endpoint: Endpoint, now: number) {
    this.service = service;
    this.#endpoint = endpoint;
    this.#since = now;
  }

  status(): ServiceStatus {
    return {
      name: this.service.name,
      state: 'inline',
      since: this.#since,
      instances: 0,
      inFlight: this.#inFlight,
      wakes: 0,
      lastExit: undefined,
    };
  }

  get slots(): number {
    const { concurrency, maxInstances } = this.service.limits;
    return concurrency * maxInstances;
  }

  take(): PushSlot | undefined {
    if (this.#inFlight >= this.slots) return undefined;
    this.#inFlight++;
    const free = () => {
      this.#inFlight--;
      this.onFree();
    };
    return {
      push: async ({ subscription, lease }): Promise<PushOutcome> => {
        try {
          await this.#endpoint.deliver(deliveryOf(subscription, lease.message));
          return { acked: true };
        } catch (error) {
          return { acked: false, reason: causeOf(error) };
        } finally {
          free();
        }
      },
      release: free,
    };
  }

  /** The host itself runs it: there is no other process to give it to. */
  takeAlone(): PushSlot | undefined {
    return this.take();
  }

  /** The dispatcher waits for what is under way; nothing else runs. */
  async stop(): Promise<void> {}
}
