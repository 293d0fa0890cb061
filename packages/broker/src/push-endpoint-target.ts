import type { ClientRequest, Agent as HttpAgent } from 'node:http';
import type { BrokerClock } from './clock.ts';
import { http } from './node-http.ts';
import type { PushOutcome, PushRequest, PushSlot, PushTarget } from './push.ts';
import { isAck, type PushContent, pushContent } from './push-content.ts';
import { type Place, PushWindow } from './push-window.ts';

/** What Google's pushes say they are. Source: cloud.google.com/pubsub/docs/payload-unwrapping. */
const userAgent = 'CloudPubSub-Google';
/** A connection without a push is closed after. */
const idleMs = 60_000;
/** Of an answer's body, which nobody reads: more, and its connection is given up rather than emptied. */
const mostDrainedBytes = 65_536;
/** No fault of the endpoint's: this machine has nothing left to call it with. */
const oursToBlame: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS']);

/** Endpoints anywhere, by http and https; their connections are kept and shared. */
export class PushEndpoints {
  readonly #clock: BrokerClock;
  readonly #agents = new Map<string, HttpAgent>();
  readonly #live = new Set<ClientRequest>();

  constructor(clock: BrokerClock) {
    this.#clock = clock;
  }

  /** A new target with a window of its own: as with Google, each subscription has one. */
  target(endpoint: string): PushTarget {
    const url = new URL(endpoint);
    // TLS is loaded with the first endpoint that has it.
    const Agent = url.protocol === 'https:' ? process.getBuiltinModule('node:https').Agent : http.Agent;
    const agent = this.#agents.get(url.protocol) ?? new Agent({ keepAlive: true, timeout: idleMs });
    this.#agents.set(url.protocol, agent);
    const post: Post = (headers, isRetry) => {
      const outgoing = http.request(url, {
        method: 'POST',
        // A connection of its own cannot be one that was kept too long.
        agent: isRetry ? new Agent() : agent,
        headers: { 'user-agent': userAgent, ...headers },
      });
      this.#live.add(outgoing);
      outgoing.on('close', () => this.#live.delete(outgoing));
      return outgoing;
    };
    return new PushEndpointTarget(post, this.#clock);
  }

  /** Breaks off what is under way. */
  close(): void {
    for (const each of this.#live) each.destroy(new Error('the broker stops'));
    for (const agent of this.#agents.values()) agent.destroy();
  }
}

type Post = (headers: PushContent['headers'], isRetry: boolean) => ClientRequest;

/**
 * One endpoint of one subscription.
 *
 *   free place --push--> sending --its bytes are with the endpoint's machine--> waiting --status, or 102--> settled --end of the answer--> free
 *                            \---time-out, broken connection----------------------/
 *
 * Both sending and waiting may take as long as the ack deadline: the time to answer counts from when the bytes left. A place is
 * free when the exchange is over, not when it is settled: an endpoint that answers 102 or the head of an endless body at
 * once cannot make us hold more connections than its window.
 */
class PushEndpointTarget implements PushTarget {
  onFree: () => void = () => {};
  readonly #post: Post;
  readonly #clock: BrokerClock;
  readonly #window = new PushWindow();
  #cancelResume: (() => void) | undefined;

  constructor(post: Post, clock: BrokerClock) {
    this.#post = post;
    this.#clock = clock;
  }

  get slots(): number {
    return this.#window.size;
  }

  get pausedUntil(): number | undefined {
    const leftMs = this.#window.resumesAt - this.#clock.steady();
    return leftMs > 0 ? Math.ceil(this.#clock.now() + leftMs) : undefined;
  }

  take(): PushSlot | undefined {
    const now = this.#clock.steady();
    const place = this.#window.take(now);
    if (!place) {
      this.#resumeLater(now);
      return undefined;
    }
    const release = () => {
      this.#window.leave();
      this.onFree();
    };
    return { release, push: (push) => this.#push(place, push, release) };
  }

  /** Processes are not ours to choose. */
  takeAlone(): PushSlot | undefined {
    return this.take();
  }

  forget(): void {
    this.onFree = () => {};
    this.#cancelResume?.();
  }

  /** Set only while a message waits for the backoff to end. */
  #resumeLater(now: number): void {
    const { resumesAt } = this.#window;
    if (this.#cancelResume || resumesAt <= now) return;
    this.#cancelResume = this.#clock.after(resumesAt - now, () => {
      this.#cancelResume = undefined;
      this.onFree();
    });
  }

  #push(place: Place, push: PushRequest, release: () => void): Promise<PushOutcome> {
    const { promise, resolve } = Promise.withResolvers<PushOutcome>();
    const settle = (outcome: PushOutcome) => {
      const now = this.#clock.steady();
      if (outcome.acked) this.#window.acked(place, now);
      else this.#window.failed(place, now);
      resolve(outcome);
    };
    try {
      const { headers, body } = pushContent(push);
      const exchange = new Exchange((isRetry) => this.#post(headers, isRetry), this.#clock, push.timeoutMs);
      exchange.run(body, settle, release);
    } catch (error) {
      settle({ acked: false, reason: (error as Error).message });
      release();
    }
    return promise;
  }
}

/** One request and its answer. */
class Exchange {
  readonly #open: (isRetry: boolean) => ClientRequest;
  readonly #clock: BrokerClock;
  readonly #timeoutMs: number;
  #cancelTimer: () => void = () => {};
  #isSettled = false;

  constructor(open: (isRetry: boolean) => ClientRequest, clock: BrokerClock, timeoutMs: number) {
    this.#open = open;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** @param ended told once, after `settle` was */
  run(body: Uint8Array, settle: (outcome: PushOutcome) => void, ended: () => void, isRetry = false): void {
    const once = (outcome: PushOutcome) => {
      if (this.#isSettled) return;
      this.#isSettled = true;
      settle(outcome);
    };
    const outgoing = this.#open(isRetry);
    let failure: NodeJS.ErrnoException | undefined;
    this.#within(outgoing, 'the request was not taken');
    outgoing.on('finish', () => this.#within(outgoing, 'no answer'));
    // 102 is the one code that comes before the answer: `information` is all that tells of it.
    outgoing.on('information', ({ statusCode }) => {
      if (isAck(statusCode)) once({ acked: true });
    });
    outgoing.on('response', (response) => {
      const { statusCode = 0 } = response;
      once(isAck(statusCode) ? { acked: true } : { acked: false, reason: `HTTP ${statusCode}` });
      let drained = 0;
      response.on('error', () => {});
      response.on('data', (chunk: Buffer) => {
        drained += chunk.length;
        if (drained > mostDrainedBytes) outgoing.destroy();
      });
    });
    outgoing.on('error', (error) => {
      failure = error;
    });
    outgoing.on('close', () => {
      this.#cancelTimer();
      // The endpoint closed an idle connection just as it was used again: as a rule it saw nothing of this.
      if (!this.#isSettled && !isRetry && outgoing.reusedSocket && failure?.code === 'ECONNRESET') {
        return this.run(body, settle, ended, true);
      }
      const reason = failure?.message ?? 'the connection was closed without an answer';
      once({ acked: false, reason, ...(oursToBlame.has(failure?.code ?? '') && { unseen: true }) });
      ended();
    });
    outgoing.end(body);
  }

  #within(outgoing: ClientRequest, what: string): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(this.#timeoutMs, () => {
      outgoing.destroy(new Error(`${what} within ${this.#timeoutMs / 1000} s`));
    });
  }
}
