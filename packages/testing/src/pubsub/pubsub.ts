import { expect } from 'vitest';
import { streamingPull } from '../pubsub-grpc.ts';
import type { Json, WireError } from '../pubsub-wire.ts';
import { until } from '../until.ts';
import type { PubsubServer } from './target.ts';

export interface Received {
  readonly ackId: string;
  readonly deliveryAttempt?: number;
  readonly message: {
    readonly data?: string;
    readonly messageId: string;
    readonly publishTime: string;
    readonly attributes?: Readonly<Record<string, string>>;
    readonly orderingKey?: string;
  };
}

/** What a case does with a server, in a project of its own. */
export type Pubsub = ReturnType<typeof pubsubOn>;
/** One subscription and its topic. */
export type Reader = Awaited<ReturnType<Pubsub['reader']>>;

export function pubsubOn(server: PubsubServer) {
  const project = `projects/p-${crypto.randomUUID()}`;
  const opened: Disposable[] = [];
  const { call } = server.wire;

  /** A name that nothing has. */
  const name = (kind: 'topics' | 'subscriptions' | 'snapshots' | 'schemas') =>
    `${project}/${kind}/r-${crypto.randomUUID()}`;

  /** A call that is refused: with this status, and a message that names the cause. */
  const refuses = async (rpc: string, request: Json, status: string, because = ''): Promise<WireError> => {
    const refused = await call(rpc, request).then(
      (answer) => ({ status: 'OK', message: JSON.stringify(answer) }) as WireError,
      (error: WireError) => error,
    );
    const asked = JSON.stringify(request).slice(0, 300);
    expect({ rpc, asked, status: refused.status, message: refused.message }).toEqual({
      rpc,
      asked,
      status,
      message: expect.stringContaining(because),
    });
    return refused;
  };

  const topic = async (config: Json = {}): Promise<string> => {
    const { name: made } = await call('CreateTopic', { name: name('topics'), ...config });
    return made as string;
  };

  const publish = async (topic: string, ...messages: readonly Json[]): Promise<string[]> =>
    (await call('Publish', { topic, messages })).messageIds as string[];

  return {
    server,
    project,
    name,
    call,
    refuses,
    topic,
    publish,

    /** A subscription, with a topic of its own unless one is given. */
    async reader({ topic: given, ...config }: Json = {}) {
      const created = { topic: (given as string) ?? (await topic()), name: name('subscriptions'), ...config };
      await call('CreateSubscription', created);
      return readerOf(server, created.topic, created.name);
    },

    /** A StreamingPull, which is closed with the case. */
    stream(...requests: readonly Json[]): ReturnType<typeof streamingPull> {
      const stream = streamingPull(server.grpc);
      opened.push(stream);
      for (const request of requests) stream.send(request);
      return stream;
    },

    [Symbol.dispose](): void {
      for (const each of opened) each[Symbol.dispose]();
    },
  };
}

function readerOf({ wire: { call } }: PubsubServer, topic: string, subscription: string) {
  /** What can be had at once. */
  const pull = async (maxMessages = 100): Promise<Received[]> => {
    const { receivedMessages = [] } = await call('Pull', { subscription, maxMessages, returnImmediately: true });
    return receivedMessages as Received[];
  };

  /** Waits for so many, and no more. */
  const take = async (count = 1): Promise<Received[]> => {
    const taken: Received[] = [];
    await until(`${count} messages, or the rest of them`, async () => {
      taken.push(...(await pull(count - taken.length)));
      return taken.length >= count;
    });
    return taken;
  };

  const ack = async (...received: readonly Received[]): Promise<void> => {
    await call('Acknowledge', { subscription, ackIds: received.map(({ ackId }) => ackId) });
  };

  const extend = async (ackDeadlineSeconds: number, ...received: readonly Received[]): Promise<void> => {
    const ackIds = received.map(({ ackId }) => ackId);
    await call('ModifyAckDeadline', { subscription, ackIds, ackDeadlineSeconds });
  };

  /** @param messages texts, or whole messages */
  const publish = async (...messages: readonly (string | Json)[]): Promise<string[]> => {
    const whole = messages.map((each) => (typeof each === 'string' ? { data: base64(each) } : each));
    return (await call('Publish', { topic, messages: whole })).messageIds as string[];
  };

  return {
    topic,
    subscription,
    publish,
    pull,
    take,
    ack,
    extend,
    nack: (...received: readonly Received[]) => extend(0, ...received),
    config: () => call('GetSubscription', { subscription }),

    /** Each by a publish of its own, one after the other. */
    async publishInOrder(orderingKey: string, ...texts: readonly string[]): Promise<void> {
      for (const text of texts) await publish({ data: base64(text), orderingKey });
    },

    /** Waits for the next message, acks it, and gives its text. */
    async next(): Promise<string> {
      const [received] = await take();
      await ack(received!);
      return textOf(received!);
    },

    /** @param updateMask as in JSON, in snake_case or camelCase */
    update: (config: Json, updateMask: string) =>
      call('UpdateSubscription', { subscription: { name: subscription, ...config }, updateMask }),
  };
}

export const base64 = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64');

/** Of a message that was received, in any way. */
export const textOf = ({ message }: { readonly message: { readonly data?: unknown } }): string =>
  Buffer.from((message.data as string) ?? '', 'base64').toString();

export const textsOf = (received: readonly { readonly message: { readonly data?: unknown } }[]): string[] =>
  received.map(textOf);
