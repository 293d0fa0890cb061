import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Broker, type BrokerOptions } from './broker.ts';
import { Database } from './database.ts';
import type { SubscriptionState } from './subscription.ts';
import type { SubscriptionConfig } from './subscription-config.ts';

export const topic = 'projects/p/topics/news';
export const reader = 'projects/p/subscriptions/reader';

/** Time by hand: alarms are looked for, not waited for. The date is whatever it is set to. */
export class Hand {
  time = 1_000_000_000_000;
  dateOffset = 0;
  readonly #alarms = new Set<{ readonly at: number; readonly callback: () => void }>();
  readonly now = () => this.time + this.dateOffset;
  readonly steady = () => this.time;

  after(durationMs: number, callback: () => void): () => void {
    const alarm = { at: this.time + durationMs, callback };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  pass(ms: number): void {
    this.time += ms;
    for (const alarm of [...this.#alarms]) {
      if (alarm.at > this.time) continue;
      this.#alarms.delete(alarm);
      alarm.callback();
    }
  }
}

/** A broker on a file of its own, with one topic and one subscription. */
export class Bench {
  readonly clock = new Hand();
  readonly path: string;
  database!: Database;
  broker!: Broker;
  readonly #options: BrokerOptions;

  constructor(options: BrokerOptions = { fairBy: 'tenant' }) {
    this.#options = options;
    const folder = mkdtempSync(join(tmpdir(), 'dormouse-broker-'));
    this.path = join(folder, 'test.db');
    this.open();
    onTestFinished(async () => {
      await this.close();
      rmSync(folder, { recursive: true });
    });
  }

  open(): void {
    this.database = new Database(this.path);
    this.broker = new Broker(this.database, this.clock, this.#options);
  }

  async close(): Promise<void> {
    this.broker.close();
    await this.database.close();
  }

  async reopen(): Promise<void> {
    await this.close();
    this.open();
  }

  get subscription(): SubscriptionState {
    return this.broker.subscription(reader);
  }

  async create(config: Partial<SubscriptionConfig> = {}): Promise<this> {
    await this.broker.createTopic({ name: topic });
    await this.broker.createSubscription({ name: reader, topic, ...config });
    return this;
  }

  publish(...texts: string[]): Promise<string[]> {
    return this.publishFor(undefined, ...texts);
  }

  publishFor(tenant: string | undefined, ...texts: string[]): Promise<string[]> {
    const attributes: Record<string, string> = tenant === undefined ? {} : { tenant };
    return this.broker.publish(
      topic,
      texts.map((text) => ({ data: Buffer.from(text).toString('base64'), attributes })),
    );
  }

  lease(max = 100): { readonly text: string; readonly position: number; readonly attempt: number }[] {
    return this.broker.deliveries.lease(this.subscription, max).map(({ message, attempt }) => ({
      text: Buffer.from(message.data, 'base64').toString(),
      position: message.position,
      attempt,
    }));
  }
}
