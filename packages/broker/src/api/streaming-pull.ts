import type { Broker } from '../broker.ts';
import { type BrokerError, badRequest, brokerErrorOf } from '../broker-error.ts';
import { bytesOf, type Lease } from '../lease.ts';
import type { SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';
import { acknowledge, modifyDeadline, pulled } from './delivering.ts';
import { receivedMessage } from './message.ts';

/** Where a stream's answers go. */
export interface StreamingPullCaller {
  /** False where no more should be sent until `drained`. */
  send(response: Json): boolean;
  end(error: BrokerError): void;
}

/** google.pubsub.v1 StreamingPullRequest. */
interface StreamingPullRequest {
  readonly subscription?: string;
  readonly ackIds?: readonly string[];
  readonly modifyDeadlineSeconds?: readonly number[];
  readonly modifyDeadlineAckIds?: readonly string[];
  readonly streamAckDeadlineSeconds?: number;
  readonly clientId?: string;
  readonly maxOutstandingMessages?: string;
  readonly maxOutstandingBytes?: string;
  readonly protocolVersion?: string;
}

/** Of one response. Small enough that streams of one subscription share what there is. */
const messagesAResponse = 100;
const bytesAResponse = 1_000_000;
/** Responses whose leases are on their way to the disk, or whose messages are being transformed. */
const maxPreparing = 16;

/**
 * One StreamingPull, from its first request to its end.
 *
 * Sends what there is as long as fewer messages and bytes than the first request allowed are outstanding: sent on this stream
 * and neither settled nor expired, whoever settles them, since clients ack by `Acknowledge` as well. The message that reaches
 * the limit of bytes is still sent, so that one larger than it can come at all. What is outstanding when the stream ends stays
 * leased until its deadline.
 */
export class StreamingPull {
  readonly #broker: Broker;
  readonly #caller: StreamingPullCaller;
  #subscription: SubscriptionState | undefined;
  #deadlineMs = 0;
  #maxMessages = Number.POSITIVE_INFINITY;
  #maxBytes = Number.POSITIVE_INFINITY;
  #messages = 0;
  #bytes = 0;
  #isFull = false;
  #preparing = 0;
  #isTold = false;
  #pumping: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(broker: Broker, caller: StreamingPullCaller) {
    this.#broker = broker;
    this.#caller = caller;
  }

  /** Takes the next request of the caller. One that is wrong ends the stream. */
  async receive(request: StreamingPullRequest): Promise<void> {
    if (this.#closed) return;
    try {
      if (!this.#subscription) this.#open(request);
      else refuseLater(request);
      this.#setDeadline(request.streamAckDeadlineSeconds);
      await this.#settle(this.#subscription!, request);
    } catch (error) {
      this.#end(error);
    }
  }

  /** What was sent has left: there is room for more. */
  drained(): void {
    this.#isFull = false;
    this.#schedule();
  }

  /** The caller is gone, or done. */
  close(): void {
    this.#closed = true;
    if (this.#pumping) clearImmediate(this.#pumping);
    this.#subscription?.waiting.delete(this.#told);
  }

  #open({ subscription = '', streamAckDeadlineSeconds = 0, ...limits }: StreamingPullRequest): void {
    if (subscription === '')
      throw badRequest('subscription', 'the first request of a stream must name its subscription');
    const state = pulled(this.#broker, subscription);
    if (streamAckDeadlineSeconds === 0) {
      throw badRequest(
        'stream_ack_deadline_seconds',
        'the first request of a stream must say streamAckDeadlineSeconds',
      );
    }
    this.#subscription = state;
    this.#maxMessages = limitOf(limits.maxOutstandingMessages);
    this.#maxBytes = limitOf(limits.maxOutstandingBytes);
    state.waiting.add(this.#told);
    this.#schedule();
  }

  #setDeadline(seconds = 0): void {
    if (seconds === 0) return;
    if (seconds < 10 || seconds > 600) {
      throw badRequest('stream_ack_deadline_seconds', `streamAckDeadlineSeconds must be 10 to 600, got ${seconds}`);
    }
    this.#deadlineMs = seconds * 1000;
  }

  async #settle(subscription: SubscriptionState, request: StreamingPullRequest): Promise<void> {
    const { ackIds = [], modifyDeadlineAckIds = [], modifyDeadlineSeconds = [] } = request;
    if (modifyDeadlineAckIds.length !== modifyDeadlineSeconds.length) {
      throw badRequest(
        'modify_deadline_seconds',
        `there are ${modifyDeadlineAckIds.length} modifyDeadlineAckIds and ${modifyDeadlineSeconds.length} modifyDeadlineSeconds; each id needs its own`,
      );
    }
    const goneAcks = await acknowledge(this.#broker, subscription, ackIds);
    const bySeconds = Map.groupBy(modifyDeadlineAckIds, (_ackId, index) => modifyDeadlineSeconds[index]!);
    const goneExtensions: string[] = [];
    for (const [seconds, ids] of bySeconds) {
      goneExtensions.push(...(await modifyDeadline(this.#broker, subscription, ids, seconds)));
    }
    if (!subscription.isExactlyOnce || this.#closed || ackIds.length + modifyDeadlineAckIds.length === 0) return;
    this.#caller.send({
      acknowledgeConfirmation: confirmationOf(ackIds, goneAcks),
      modifyAckDeadlineConfirmation: confirmationOf(modifyDeadlineAckIds, goneExtensions),
      subscriptionProperties: propertiesOf(subscription),
    });
  }

  /**
   * What is new leaves in this turn of the loop, when all of its group were told: HTTP/2 writes at the end of a turn, so that one who waits for the next
   * adds a whole turn to the way of each message.
   */
  readonly #told = (): void => {
    if (this.#isTold) return;
    this.#isTold = true;
    queueMicrotask(() => {
      this.#isTold = false;
      if (!this.#closed) this.#pump();
    });
  };

  /** Once a turn of the loop, however many messages were settled in it. */
  readonly #schedule = (): void => {
    if (this.#closed) return;
    this.#pumping ??= setImmediate(() => {
      this.#pumping = undefined;
      this.#pump();
    });
  };

  #pump(): void {
    const subscription = this.#subscription!;
    try {
      // It may have been deleted, detached or given an endpoint meanwhile.
      pulled(this.#broker, subscription.config.name);
      while (
        !this.#isFull &&
        this.#preparing < maxPreparing &&
        this.#messages < this.#maxMessages &&
        this.#bytes < this.#maxBytes
      ) {
        if (!this.#takeSome(subscription)) break;
      }
    } catch (error) {
      this.#end(error);
      return;
    }
    // To the end of the line: the next message is another stream's.
    subscription.waiting.delete(this.#told);
    subscription.waiting.add(this.#told);
  }

  /** False where there is nothing. */
  #takeSome(subscription: SubscriptionState): boolean {
    const most = Math.min(messagesAResponse, this.#maxMessages - this.#messages);
    const maxBytes = Math.min(bytesAResponse, this.#maxBytes - this.#bytes);
    const leases = this.#broker.deliveries.lease(subscription, most, this.#deadlineMs, { maxBytes, runs: true });
    if (leases.length === 0) return false;
    for (const lease of leases) {
      const bytes = bytesOf(lease.message);
      this.#messages++;
      this.#bytes += bytes;
      lease.onEnd = () => {
        this.#messages--;
        this.#bytes -= bytes;
        this.#schedule();
      };
    }
    const preparing = this.#broker.deliveries.preparing(subscription, leases);
    if (!preparing) this.#send(subscription, leases);
    else void this.#sendPrepared(subscription, preparing);
    return true;
  }

  async #sendPrepared(subscription: SubscriptionState, preparing: Promise<Lease[]>): Promise<void> {
    this.#preparing++;
    try {
      const shown = await preparing;
      if (shown.length > 0) this.#send(subscription, shown);
    } catch (error) {
      // Asked again at once, the disk would refuse the leases again: the client comes back, later and later.
      this.#end(error);
    }
    if (this.#preparing-- === maxPreparing) this.#schedule();
  }

  #send(subscription: SubscriptionState, leases: readonly Lease[]): void {
    if (this.#closed) {
      for (const { message } of leases) this.#broker.deliveries.release(subscription, message.position);
      return;
    }
    const receivedMessages = leases.map((lease) => receivedMessage(subscription, lease));
    this.#isFull = !this.#caller.send({ receivedMessages, subscriptionProperties: propertiesOf(subscription) });
  }

  #end(error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.#caller.end(brokerErrorOf(error));
  }
}

/** What only the first request may say. */
function refuseLater(request: StreamingPullRequest): void {
  for (const field of [
    'subscription',
    'clientId',
    'maxOutstandingMessages',
    'maxOutstandingBytes',
    'protocolVersion',
  ] as const) {
    if (request[field]) throw badRequest(field, `${field} may be set by the first request of a stream only`);
  }
}

function propertiesOf({ config, isExactlyOnce }: SubscriptionState): Json {
  return {
    exactlyOnceDeliveryEnabled: isExactlyOnce,
    messageOrderingEnabled: config.enableMessageOrdering === true,
  };
}

function confirmationOf(ackIds: readonly string[], gone: readonly string[]): Json | undefined {
  if (ackIds.length === 0) return undefined;
  const invalidAckIds = new Set(gone);
  return { ackIds: ackIds.filter((ackId) => !invalidAckIds.has(ackId)), invalidAckIds: [...invalidAckIds] };
}

function limitOf(given: string | undefined): number {
  const limit = Number(given ?? 0);
  return limit > 0 ? limit : Number.POSITIVE_INFINITY;
}
