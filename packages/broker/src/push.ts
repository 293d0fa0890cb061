import type { Broker } from './broker.ts';
import { bytesOf, type Lease, type LeaseOf } from './lease.ts';
import type { SubscriptionState } from './subscription.ts';
import type { PushConfig } from './subscription-config.ts';

/** One free place at an endpoint. It is used once: `push`, or `release`. */
export interface PushSlot {
  push(request: PushRequest): Promise<PushOutcome>;
  release(): void;
}

export interface PushRequest {
  readonly subscription: string;
  readonly config: PushConfig;
  readonly lease: Lease;
  /** Only of a subscription with a dead-letter policy. */
  readonly deliveryAttempt: number | undefined;
  readonly authorization: string | undefined;
  /** The ack deadline, counted from when the bytes leave. */
  readonly timeoutMs: number;
}

const nackRetryMs = 1_000;
/** Of messages that are with one target, and a message more: each is in memory some three times. */
const mostBytes = 32_000_000;
/** Of its lease, a push may use the ack deadline to get there, and the ack deadline to be answered. */
const leaseMarginMs = 5_000;

/**
 * `acked`, or why not. `unseen`: no byte of it reached the endpoint, so it counts as no attempt. `died`: the process that
 * had it is dead, of this message or of another that it had at the time.
 */
export type PushOutcome =
  | { readonly acked: true }
  | { readonly acked: false; readonly reason: string; readonly unseen?: boolean; readonly died?: boolean };

/** Where pushes go: knows how many it can take now. */
export interface PushTarget {
  /** How many it can take at the most. */
  readonly slots: number;
  /**
   * A slot that is free at once, or undefined. In that case the target may wake something, and calls `onFree` when
   * asking again can help.
   */
  take(subscription: string): PushSlot | undefined;
  /** The same in a process that holds nothing else. */
  takeAlone(subscription: string): PushSlot | undefined;
  onFree: () => void;
  /** No subscription is pushed to it any more. */
  forget?(): void;
  /** Nothing is taken before; epoch milliseconds. Default: now. */
  readonly pausedUntil?: number | undefined;
}

/** How the pushes of a subscription go. Times in epoch milliseconds. */
export interface PushState {
  readonly endpoint: string;
  /** How many may be outstanding. */
  readonly window: number;
  readonly outstanding: number;
  /** Nothing is pushed before. */
  readonly pausedUntil: number | undefined;
  /** The last that was not acked, since the last that was. */
  readonly failure: { readonly at: number; readonly reason: string } | undefined;
}

export interface PushOptions {
  /** The target of an endpoint. Asked once for each subscription and endpoint; undefined where it is not served. */
  readonly resolve: (endpoint: string) => PushTarget | undefined;
  /** The value of the Authorization header for a push with an oidcToken. */
  readonly authorize: (oidcToken: NonNullable<PushConfig['oidcToken']>, endpoint: string) => Promise<string>;
  /**
   * A message of which every process dies that is given it alone. Resolves to true where that is recorded and the message
   * settled; otherwise it is tried again.
   */
  readonly onDeadly?: (subscription: string, lease: Lease, reason: string) => Promise<boolean>;
  /** A settled or unsettled push, for log and metrics. */
  readonly onSettled?: (subscription: string, lease: Lease, outcome: PushOutcome) => void;
}

/** The first death was in company: so many more, and it is the message's doing. */
const deathsAlone = 3;

/** Where a subscription goes. */
interface Route {
  readonly endpoint: string;
  readonly shared: Shared;
  outstanding: number;
  failure: PushState['failure'];
}

/** A target, and who shares it. */
interface Shared {
  readonly target: PushTarget;
  /** In the order of their turns. */
  readonly sharing: SubscriptionState[];
  /** How many of its slots each lane has. */
  readonly held: Map<string, number>;
  /** Of the messages that are with it. */
  bytes: number;
}

/**
 * Leases only against a free slot: what an endpoint cannot take now waits in the log with no lease running.
 *
 * A pump of a subscription runs when something became available or when its target has a free slot; subscriptions that
 * share a target take turns, one message each, so that none starves the others. Where there is more than one tenant, a
 * quarter of a target's slots is beyond the reach of any one of them, however long what it has there takes.
 *
 * Memory holds what is under way, never what waits: no more messages than slots, and no more bytes than `mostBytes`.
 *
 * Of the messages that a process had when it died, one may be to blame. They are suspects, each given to a process alone
 * the next time; who outlives that is cleared, and of whom three processes die is deadly.
 */
export class PushDispatcher {
  readonly #broker: Broker;
  readonly #options: PushOptions;
  readonly #shared = new Map<PushTarget, Shared>();
  /** Of each subscription with an endpoint that is served. */
  readonly #routes = new Map<SubscriptionState, Route>();
  readonly #inFlight = new Set<Promise<void>>();
  #stopped = false;

  constructor(broker: Broker, options: PushOptions) {
    this.#broker = broker;
    this.#options = options;
    broker.deliveries.onAvailable = (subscription) => this.add(subscription);
    broker.onEnded = (subscription) => this.#forget(subscription);
    broker.pushStateOf = (subscription) => this.#stateOf(subscription);
  }

  /** Pushes what a subscription has for its endpoint, from now on. Nothing happens while it has none. */
  add(subscription: SubscriptionState): void {
    if (this.#stopped) return;
    const endpoint = subscription.config.pushConfig?.pushEndpoint;
    if (this.#routes.get(subscription)?.endpoint !== endpoint) {
      this.#forget(subscription);
      if (endpoint) this.#route(subscription, endpoint);
    }
    while (this.#pushOne(subscription, 'company'));
    while (this.#pushOne(subscription, 'suspects'));
  }

  /** Pushes that are under way. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Leases no more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#inFlight);
    for (const { target } of this.#shared.values()) target.forget?.();
  }

  #route(subscription: SubscriptionState, endpoint: string): void {
    const target = this.#options.resolve(endpoint);
    if (!target) return;
    const shared = this.#shared.get(target) ?? {
      target,
      sharing: [] as SubscriptionState[],
      held: new Map<string, number>(),
      bytes: 0,
    };
    this.#shared.set(target, shared);
    this.#routes.set(subscription, { endpoint, shared, outstanding: 0, failure: undefined });
    shared.sharing.push(subscription);
    target.onFree = () => this.#pumpAll(shared.sharing);
  }

  #stateOf(subscription: SubscriptionState): PushState | undefined {
    const route = this.#routes.get(subscription);
    if (!route) return undefined;
    const { endpoint, shared, outstanding, failure } = route;
    return { endpoint, window: shared.target.slots, outstanding, pausedUntil: shared.target.pausedUntil, failure };
  }

  /** What is under way to its endpoint is finished. */
  #forget(subscription: SubscriptionState): void {
    const route = this.#routes.get(subscription);
    if (!route) return;
    const { target, sharing } = route.shared;
    this.#routes.delete(subscription);
    sharing.splice(sharing.indexOf(subscription), 1);
    if (sharing.length > 0 || !target.forget) return;
    this.#shared.delete(target);
    target.forget();
  }

  #pumpAll(sharing: SubscriptionState[]): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const subscription of [...sharing]) {
        const pushed = [this.#pushOne(subscription, 'company'), this.#pushOne(subscription, 'suspects')];
        if (!pushed.includes(true)) continue;
        moved = true;
        // To the end of the line, so that the next free slot is another's.
        sharing.push(...sharing.splice(sharing.indexOf(subscription), 1));
      }
    }
  }

  /** False where nothing waits or nothing is free. */
  #pushOne(subscription: SubscriptionState, of: LeaseOf): boolean {
    const route = this.#routes.get(subscription);
    // Without an endpoint it is pulled.
    if (this.#stopped || !route) return false;
    const { shared } = route;
    const { target, sharing, held } = shared;
    if (shared.bytes >= mostBytes) return false;
    const mayTake = this.#share(shared);
    if (!this.#broker.deliveries.available(subscription, { of, mayTake })) return false;
    const { name } = subscription.config;
    const slot = of === 'company' ? target.take(name) : target.takeAlone(name);
    if (!slot) return false;
    let lease: Lease | undefined;
    try {
      // The slot's own time-out ends the attempt; the lease only has to outlast it.
      const leaseMs = subscription.ackDeadlineMs * 2 + leaseMarginMs;
      [lease] = this.#broker.deliveries.lease(subscription, 1, leaseMs, { of, mayTake });
    } finally {
      if (!lease) slot.release();
    }
    if (!lease) return false;
    const { lane } = lease;
    const bytes = bytesOf(lease.message);
    shared.bytes += bytes;
    held.set(lane, (held.get(lane) ?? 0) + 1);
    route.outstanding++;
    const work = this.#push(subscription, route, slot, lease).finally(() => {
      this.#inFlight.delete(work);
      route.outstanding--;
      const wasShort = !this.#share(shared)(lane) || shared.bytes >= mostBytes;
      shared.bytes -= bytes;
      const left = held.get(lane)! - 1;
      if (left > 0) held.set(lane, left);
      else held.delete(lane);
      // The slot was free before its lane or the memory had one less, or the next of an ordering key came up: it was
      // offered in vain.
      if (wasShort || subscription.hasCandidates) this.#pumpAll(sharing);
    });
    this.#inFlight.add(work);
    return true;
  }

  /** Whether a lane may have one more of a target's slots. */
  #share({ target, held }: Shared): (lane: string) => boolean {
    const most = this.#broker.hasSeveralLanes ? Math.max(1, target.slots - Math.ceil(target.slots / 4)) : target.slots;
    return (lane) => (held.get(lane) ?? 0) < most;
  }

  async #push(subscription: SubscriptionState, route: Route, slot: PushSlot, lease: Lease): Promise<void> {
    const outcome = await this.#outcome(subscription, slot, lease);
    const { position } = lease.message;
    route.failure = outcome.acked ? undefined : { at: this.#broker.clock.now(), reason: outcome.reason };
    // Expired, sought or deleted meanwhile: what became of it says nothing about a later lease of the same message.
    if (subscription.leases.get(position) !== lease) return;
    if (outcome.acked || (await this.#isDeadly(subscription, lease, outcome)))
      this.#broker.deliveries.ack(subscription, position);
    // What our own stop cut off is no failure of the message's.
    else if (outcome.unseen || this.#stopped) this.#broker.deliveries.release(subscription, position);
    else {
      // A nack that the disk would not take is made up for by the lease, which expires.
      await this.#broker.deliveries.nack(subscription, [position], outcome.died).catch(() => {
        this.#broker.deliveries.extend(subscription, position, nackRetryMs);
      });
    }
    this.#options.onSettled?.(subscription.config.name, lease, outcome);
  }

  async #isDeadly(subscription: SubscriptionState, lease: Lease, outcome: PushOutcome): Promise<boolean> {
    if (outcome.acked || !outcome.died || this.#stopped || lease.deaths < deathsAlone) return false;
    try {
      return (await this.#options.onDeadly?.(subscription.config.name, lease, outcome.reason)) ?? false;
    } catch {
      // It could not be recorded now: it comes again, and dies again.
      return false;
    }
  }

  async #outcome(subscription: SubscriptionState, slot: PushSlot, lease: Lease): Promise<PushOutcome> {
    const { config, ackDeadlineMs: timeoutMs } = subscription;
    const { name, pushConfig = {}, deadLetterPolicy } = config;
    const { pushEndpoint, oidcToken } = pushConfig;
    let authorization: string | undefined;
    let shown: Lease | undefined;
    try {
      [shown] = (await this.#broker.deliveries.preparing(subscription, [lease])) ?? [lease];
    } catch (error) {
      // The disk takes nothing now. The slot is kept for a moment, or we would ask it again at once.
      this.#broker.clock.after(nackRetryMs, () => slot.release());
      return { acked: false, reason: (error as Error).message, unseen: true };
    }
    if (!shown) {
      // Its functions filtered it out or failed on it, and it is settled.
      slot.release();
      return { acked: false, reason: 'its subscription transforms it into nothing', unseen: true };
    }
    try {
      authorization = oidcToken && (await this.#options.authorize(oidcToken, pushEndpoint!));
    } catch (error) {
      slot.release();
      return { acked: false, reason: (error as Error).message };
    }
    const deliveryAttempt = deadLetterPolicy ? lease.attempt : undefined;
    return slot
      .push({ subscription: name, config: pushConfig, lease: shown, deliveryAttempt, authorization, timeoutMs })
      .catch((error: Error) => ({ acked: false as const, reason: error.message }));
  }
}
