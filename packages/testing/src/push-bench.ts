import { expect, onTestFinished } from 'vitest';
import { BrokerServer, type BrokerServerOptions } from './broker-server.ts';
import { ManualClock } from './manual-clock.ts';
import { type Json, overRest } from './pubsub-wire.ts';
import { PushReceiver, type ReceivedPush } from './push-receiver.ts';

export const topic = 'projects/test/topics/news';
export const name = 'projects/test/subscriptions/reader';

interface Message {
  readonly data?: string;
  readonly attributes?: Record<string, string>;
  readonly orderingKey?: string;
}

/** A broker with a topic, time by hand, and calls to it over its REST. */
export class PushBench {
  readonly clock = new ManualClock();
  server!: BrokerServer;
  readonly #options: BrokerServerOptions;

  private constructor(options: BrokerServerOptions) {
    this.#options = { clock: this.clock, ...options };
  }

  static async open(options: BrokerServerOptions = {}): Promise<PushBench> {
    const bench = new PushBench(options);
    await bench.start();
    onTestFinished(() => bench.server[Symbol.asyncDispose]());
    await bench.call('CreateTopic', { name: topic });
    return bench;
  }

  async start(): Promise<void> {
    this.server = await BrokerServer.open(this.#options);
  }

  call(rpc: string, request: Json): Promise<Json> {
    return overRest(this.server.url).call(rpc, request);
  }

  subscribe(pushConfig: Json, more: Json = {}): Promise<Json> {
    return this.call('CreateSubscription', { name, topic, pushConfig, ...more });
  }

  async publish(...messages: readonly (string | Message)[]): Promise<void> {
    const encoded = messages.map((each) => (typeof each === 'string' ? { data: each } : each));
    await this.call('Publish', {
      topic,
      messages: encoded.map(({ data = '', ...rest }) => ({ data: Buffer.from(data).toString('base64'), ...rest })),
    });
  }

  get leased(): number {
    return this.server.broker.subscription(name).leases.size;
  }

  /** Lets time pass while nothing is under way, so that what is under way is in time. */
  async passUntil(isSo: () => boolean): Promise<void> {
    const look = () => {
      if (this.leased === 0) this.clock.advance(1_000);
      return isSo();
    };
    await expect.poll(look, { interval: 5 }).toBe(true);
  }

  /** What is not settled. */
  backlog(of = name): number {
    return this.server.broker.subscription(of).backlog();
  }
}

/** An endpoint, until the end of the test. */
export async function receiver(onPush?: (push: ReceivedPush) => void): Promise<PushReceiver> {
  const opened = await PushReceiver.open();
  onTestFinished(() => opened[Symbol.asyncDispose]());
  if (onPush) opened.onPush = onPush;
  return opened;
}

export const texts = (count: number) => Array.from({ length: count }, (_each, index) => `message ${index}`);
export const ack = (push: ReceivedPush) => push.answer(204);
