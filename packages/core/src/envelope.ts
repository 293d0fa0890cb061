import { DormouseError } from './errors.ts';
import { defaultTenant } from './tenant.ts';
import type { Topic } from './topic.ts';
import { workflowOf } from './workflow.ts';

/** A fact in the past or a request for work: CloudEvents 1.0, times as epoch milliseconds. */
export interface Envelope<T = unknown> {
  readonly id: string;
  /** The topic's name. */
  readonly type: string;
  /** `//dormouse/<system>/<service or actor>` */
  readonly source: string;
  /** What the event is about: the path of a workflow or of a child document. */
  readonly subject: string | undefined;
  readonly time: number;
  /** `<topic>/<version>` */
  readonly dataschema: string | undefined;
  readonly tenant: string;
  /** Id of the event or command whose step published this one. */
  readonly causationId: string | undefined;
  readonly traceparent: string | undefined;
  readonly data: T;
}

/** A message as it goes on the wire, and waits in timers and dead letters. Data is base64. */
export interface Message {
  readonly topic: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly data: string;
  /** The workflow it is about: subscriptions that asked for order get its messages one at a time. */
  readonly orderingKey?: string;
}

/** Which delivery this is, beyond the event itself: Dormouse's own attributes. */
export interface DeliveryMarks {
  /** Only this subscription takes the message. */
  readonly to?: string;
  /** Runs of the handler so far plus one. Default 1. */
  readonly attempt?: number;
  /** The timer this message comes from, and the setting of it. */
  readonly timer?: { readonly ref: string; readonly generation: string };
}

export interface Delivery {
  readonly subscription: string;
  readonly message: Message;
  readonly messageId: string;
  readonly publishTime: string;
}

/** A message as Pub/Sub hands it over, to a subscription by its full name. */
export function deliveryOf(
  subscription: string,
  {
    attributes,
    data,
    messageId,
    publishTime,
    orderingKey,
  }: Omit<Message, 'topic'> & Pick<Delivery, 'messageId' | 'publishTime'>,
): Delivery {
  return {
    subscription: subscription.slice(subscription.lastIndexOf('/') + 1),
    message: { topic: attributes['ce-type'] ?? '', attributes, data, ...(orderingKey && { orderingKey }) },
    messageId,
    publishTime,
  };
}

export function encodeMessage(event: Envelope, marks: DeliveryMarks = {}): Message {
  const attributes: Record<string, string> = {
    'ce-specversion': '1.0',
    'ce-id': event.id,
    'ce-type': event.type,
    'ce-source': event.source,
    'ce-time': new Date(event.time).toISOString(),
    'ce-tenant': event.tenant,
    'content-type': 'application/json',
  };
  const optional = {
    'ce-subject': event.subject,
    'ce-dataschema': event.dataschema,
    'ce-causationid': event.causationId,
    'ce-traceparent': event.traceparent,
    'dormouse-to': marks.to,
    'dormouse-attempt': marks.attempt?.toString(),
    'dormouse-timer': marks.timer && `${marks.timer.generation} ${marks.timer.ref}`,
  };
  for (const [name, value] of Object.entries(optional)) if (value !== undefined) attributes[name] = value;
  const orderingKey = workflowOf(event.subject ?? '');
  const data = toBase64(JSON.stringify(event.data));
  return { topic: event.type, attributes, data, ...(orderingKey !== undefined && { orderingKey }) };
}

/** What tells an event from others; of one that says none, its message's, which stays with it when that is sent again. */
export function eventIdOf({ message, messageId }: Pick<Delivery, 'message' | 'messageId'>): string {
  return message.attributes['ce-id'] ?? message.attributes['dormouse-id'] ?? messageId;
}

/** A delivery's message as it is kept to be sent again: it still tells the same event. */
export function messageToKeep(delivery: Delivery, topic: Topic): Message {
  const { message } = delivery;
  const id = message.attributes['ce-id'] === undefined ? { 'dormouse-id': eventIdOf(delivery) } : {};
  return { ...message, topic: topic.name, attributes: { ...message.attributes, ...id } };
}

/** Source: Pub/Sub's quotas, cloud.google.com/pubsub/quotas: 10 MB a message, 1,024 bytes a value. What is addressed later gets a few bytes more. */
const mostMessageBytes = 9_900_000;
const mostValueBytes = 1_024;

/** Why no broker would ever take it, so that it must not be committed; undefined where it would. */
export function messageProblem({ attributes, data }: Message): string | undefined {
  const bytes = data.length * 0.75;
  if (bytes > mostMessageBytes) {
    return `its data has ${Math.round(bytes)} bytes, at most ${mostMessageBytes} fit a message; put them into a file with step.files.put and publish the reference`;
  }
  for (const [name, value] of Object.entries(attributes)) {
    const valueBytes = Buffer.byteLength(value);
    if (valueBytes > mostValueBytes) {
      return `its attribute ${name} has ${valueBytes} bytes, at most ${mostValueBytes} fit; use shorter names`;
    }
  }
  return undefined;
}

/** The same message again, for one subscription only. */
export function addressed(message: Message, to: string, attempt: number): Message {
  return { ...message, attributes: { ...message.attributes, 'dormouse-to': to, 'dormouse-attempt': String(attempt) } };
}

/**
 * Reads an event. On a raw topic anything will do: what is missing is made up from the wire's own fields.
 * @throws DormouseError `event.malformed`
 */
export function decodeMessage(delivery: Delivery, topic: Topic): Envelope {
  const { attributes } = delivery.message;
  const id = attributes['ce-id'] ?? (topic.raw ? eventIdOf(delivery) : undefined);
  if (id === undefined) {
    throw new DormouseError(
      'event.malformed',
      `message ${delivery.messageId} on "${topic.name}" has no attribute ce-id; publish CloudEvents in binary mode`,
    );
  }
  return {
    id,
    type: attributes['ce-type'] ?? topic.name,
    source: attributes['ce-source'] ?? '//pubsub',
    subject: attributes['ce-subject'],
    time: Date.parse(attributes['ce-time'] ?? delivery.publishTime),
    dataschema: attributes['ce-dataschema'],
    tenant: attributes['ce-tenant'] ?? defaultTenant,
    causationId: attributes['ce-causationid'],
    traceparent: attributes['ce-traceparent'],
    data: decodeData(delivery, topic),
  };
}

export function decodeMarks(attributes: Readonly<Record<string, string>>): DeliveryMarks {
  const timer = /^(\S+) (.+)$/.exec(attributes['dormouse-timer'] ?? '');
  return {
    ...(attributes['dormouse-to'] !== undefined && { to: attributes['dormouse-to'] }),
    ...(attributes['dormouse-attempt'] !== undefined && { attempt: Number(attributes['dormouse-attempt']) }),
    ...(timer && { timer: { generation: timer[1]!, ref: timer[2]! } }),
  };
}

function decodeData(delivery: Delivery, topic: Topic): unknown {
  const text = fromBase64(delivery.message.data);
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (topic.raw) return text;
    throw new DormouseError(
      'event.malformed',
      `message ${delivery.messageId} on "${topic.name}": its data is not JSON`,
      { cause },
    );
  }
}

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function fromBase64(data: string): string {
  return Buffer.from(data, 'base64').toString();
}
