import { admission, type RequestHead } from './admission.ts';
import { Attempt, type DeliveryPorts } from './attempt.ts';
import { DeliveryRun } from './delivery-run.ts';
import { type Delivery, type DeliveryMarks, decodeMarks, deliveryOf } from './envelope.ts';
import { DormouseError } from './errors.ts';
import { causeOf } from './failure.ts';
import { isRaw, recordRaw } from './raw-dead-letter.ts';
import type { Service, Subscription } from './service.ts';
import { deadLetter } from './system-topics.ts';
import { Turns } from './turns.ts';

export interface EndpointPorts extends DeliveryPorts {
  /** Resolves where the bearer token of a push is good, rejects otherwise. */
  authenticate(token: string | undefined): Promise<void>;
}

export interface Endpoint {
  /** Pub/Sub's push requests: 204 when the delivery is settled, whatever became of it; an error when nothing could be committed. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** The same for a server that has method, header and body at hand: Node loads its Request in 20 ms and 15 MB. */
  readonly push: (request: PushRequest) => Promise<PushAnswer>;
  /** Its first half, before any of the body is read: the answer to who is not let in, undefined lets him in. */
  readonly admit: (head: RequestHead) => Promise<PushAnswer | undefined>;
  /** Its second half. */
  readonly take: (body: string) => Promise<PushAnswer>;
  /** The same without HTTP or token. Rejects when nothing could be committed. */
  readonly deliver: (delivery: Delivery) => Promise<void>;
}

export interface PushRequest extends RequestHead {
  readonly body: string;
}

export interface PushAnswer {
  readonly status: number;
  /** Why it was not settled. */
  readonly detail?: string;
}

/** More than a push of the largest message, 10 MB, takes in base64. */
export const maxPushBytes = 15_000_000;

/**
 * Takes deliveries for the subscriptions of one service: decode, check, run one step, commit.
 *
 * The inbox document of a delivery (subscription, source, event id) is its memory: `settled`, or the number of failed
 * attempts and what was decided. Each commit of a delivery moves it, with its version as precondition, so of two
 * overlapping runs one commits and the other finds the event settled. Where the subscription asked for order, so has each
 * commit the line that the event stands in (`order.ts`).
 */
export function createEndpoint(service: Service, ports: EndpointPorts): Endpoint {
  const turns = new Turns(ports.clock);
  const subscriptions = new Map(service.subscriptions.map((subscription) => [subscription.name, subscription]));

  async function deliver(delivery: Delivery): Promise<void> {
    const subscription = subscriptions.get(delivery.subscription);
    if (!subscription) {
      throw new DormouseError(
        'event.unknown-subscription',
        `service "${service.name}" has no subscription "${delivery.subscription}"`,
      );
    }
    if (subscription.topic.name === deadLetter.name && isRaw(delivery.message)) {
      const announced = await recordRaw(delivery, ports);
      if (announced) await settle(subscription, announced, {});
      return;
    }
    const marks = decodeMarks(delivery.message.attributes);
    if (marks.to !== undefined && marks.to !== subscription.name) return;
    await settle(subscription, delivery, marks);
  }

  function settle(subscription: Subscription, delivery: Delivery, marks: DeliveryMarks): Promise<void> {
    return new DeliveryRun(new Attempt(service, subscription, delivery, marks, ports), turns).settle();
  }

  function admit(head: RequestHead): Promise<PushAnswer | undefined> {
    return admission(head, ports.authenticate, ports.log, 'push');
  }

  async function push(request: PushRequest): Promise<PushAnswer> {
    return (await admit(request)) ?? take(request.body);
  }

  async function take(body: string): Promise<PushAnswer> {
    if (body.length > maxPushBytes) return { status: 413, detail: `a push is at most ${maxPushBytes} bytes` };
    const delivery = readPush(body);
    if (!delivery) return { status: 400, detail: 'the body is no Pub/Sub push envelope' };
    try {
      await deliver(delivery);
      return { status: 204 };
    } catch (error) {
      const { subscription, messageId } = delivery;
      ports.log.error('delivery.unsettled', { subscription, messageId, error: causeOf(error) });
      const status = error instanceof DormouseError && error.code === 'event.unknown-subscription' ? 404 : 503;
      return { status, detail: causeOf(error) };
    }
  }

  async function fetch(request: Request): Promise<Response> {
    const { method, headers } = request;
    const refused = await admit({ method, authorization: headers.get('authorization') ?? undefined });
    const { status, detail } = refused ?? (await take(await request.text()));
    return detail === undefined ? new Response(null, { status }) : answer(status, detail);
  }

  return { fetch, push, admit, take, deliver };
}

function readPush(body: string): Delivery | undefined {
  try {
    const { message, subscription } = JSON.parse(body);
    const { data = '', attributes = {}, messageId } = message;
    if (typeof subscription !== 'string' || typeof messageId !== 'string' || typeof data !== 'string') return undefined;
    return deliveryOf(subscription, { ...message, data, attributes });
  } catch {
    // Not JSON, or no envelope in it: the caller answers 400.
    return undefined;
  }
}

function answer(status: number, detail: string): Response {
  return Response.json({ status, detail }, { status, headers: { 'content-type': 'application/problem+json' } });
}
