import { type Broker, type Database, shortName } from '@dormouse/broker';
import {
  type DeadLetter,
  DormouseError,
  deadLetters,
  deliveryRef,
  forgetLines,
  isOfSystem,
  type Message,
  moveLines,
} from '@dormouse/core';
import type { Manifest } from './manifest.ts';
import type { SqliteStateStore } from './state-store.ts';

export interface UndeclaredOptions {
  readonly broker: Broker;
  readonly database: Database;
  readonly store: SqliteStateStore;
  readonly services: Manifest['services'];
  /** Full name of a subscription in the broker. */
  readonly nameOf: (subscription: string) => string;
  readonly now: () => number;
}

const messagesAtATime = 50;

/**
 * Subscriptions that a system once declared and does not any more: renamed, or removed. Their messages wait, since nobody
 * but a person knows which of the two it was: they are moved to another subscription of the topic, or forgotten.
 */
export class UndeclaredSubscriptions {
  readonly #options: UndeclaredOptions;

  constructor(options: UndeclaredOptions) {
    this.#options = options;
  }

  /** Whether it was made by a system, and the system that runs does not declare it. Others' subscriptions are theirs. */
  has(name: string): boolean {
    const { broker, nameOf } = this.#options;
    const config = broker.subscriptions.find((each) => each.config.name === nameOf(name))?.config;
    return config !== undefined && isOfSystem(name, config.filter) && this.#topicOf(name) === undefined;
  }

  names(): string[] {
    return this.#options.broker.subscriptions
      .map(({ config }) => shortName(config.name))
      .filter((name) => this.has(name));
  }

  /**
   * All that waits there goes to another subscription: messages, retries, open dead letters. What that one has settled
   * already is not done again. @throws DormouseError `subscription.refused`
   */
  async move(from: string, to: string): Promise<{ readonly messages: number }> {
    const { broker, database, nameOf, store } = this.#options;
    this.#check(from);
    const old = broker.subscription(nameOf(from));
    if (this.#topicOf(to) !== shortName(old.config.topic)) {
      throw refused(`"${to}" is no subscription of this system to the topic ${shortName(old.config.topic)}`);
    }
    await broker.pause(nameOf(from), false);
    // First what is held: it came before what waits in the log.
    let messages = await moveLines(store, from, { name: to, order: this.#declared(to)!.order });
    for (;;) {
      const leases = broker.deliveries.lease(old, messagesAtATime);
      if (leases.length === 0) break;
      // A crash between the two leaves both: the second dies in the inbox of its subscription.
      await database.write(() => {
        for (const { message } of leases) {
          const attributes = { ...message.attributes, 'dormouse-to': to };
          broker.append(old.config.topic, { ...message, attributes });
        }
      });
      for (const { message } of leases) broker.deliveries.ack(old, message.position);
      messages += leases.length;
    }
    await this.#rewrite(from, (message) => ({ ...message, attributes: { ...message.attributes, 'dormouse-to': to } }));
    for await (const letter of this.#deadLettersOf(from)) {
      const { message } = letter;
      await this.#write({ ...letter, subscription: to, inbox: deliveryRef(to, { message, messageId: '' }) });
    }
    await database.write(() => {});
    const left = old.backlog();
    if (left > 0) {
      throw refused(
        `${messages} messages of "${from}" were moved; ${left} wait for a backoff, move again in ten minutes`,
      );
    }
    await broker.deleteSubscription(nameOf(from));
    return { messages };
  }

  /** It and all that waits there is gone; its open dead letters stay on record as discarded. */
  async forget(name: string): Promise<{ readonly messages: number }> {
    const { broker, nameOf, now, store } = this.#options;
    this.#check(name);
    const messages = broker.subscription(nameOf(name)).backlog() + (await forgetLines(store, name));
    await this.#rewrite(name, () => undefined);
    for await (const letter of this.#deadLettersOf(name)) {
      const discarded = { reason: `its subscription ${name} was forgotten`, at: now() };
      await this.#write({ ...letter, state: 'discarded', discarded });
    }
    await broker.deleteSubscription(nameOf(name));
    return { messages };
  }

  #check(name: string): void {
    if (this.has(name)) return;
    throw refused(
      this.#topicOf(name) === undefined
        ? `there is no subscription "${name}" that this system once declared`
        : `"${name}" is declared by this system; take it out of its service first`,
    );
  }

  #topicOf(name: string): string | undefined {
    return this.#declared(name)?.topic;
  }

  #declared(name: string) {
    const all = this.#options.services.flatMap(({ subscriptions }) => subscriptions);
    return all.find((each) => each.name === name);
  }

  /** Retries that wait: their messages go to nobody else. */
  async #rewrite(name: string, change: (message: Message) => Message | undefined): Promise<void> {
    const { store } = this.#options;
    for (const { ref, version, data, tenant } of store.timersAddressedTo(name)) {
      const message = change(data!.message as Message);
      const dueAt = data!.dueAt as number;
      const write = message ? { ref, data: { ...data, message }, dueAt } : { ref, data: null };
      await store.commit({ tenant: tenant!, reads: [{ ref, version }], writes: [write], ...nothingElse });
    }
  }

  async *#deadLettersOf(name: string): AsyncGenerator<DeadLetter & { ref: string; version: string; tenant: string }> {
    for (let cursor: string | undefined; ; ) {
      const page = await this.#options.store.find({ collection: deadLetters, limit: 500, ...(cursor && { cursor }) });
      for (const { ref, version, tenant, data } of page.documents) {
        const letter = data as unknown as DeadLetter;
        if (letter.subscription === name && letter.state === 'open') {
          yield { ...letter, ref, version: version!, tenant: tenant! };
        }
      }
      cursor = page.cursor;
      if (cursor === undefined) return;
    }
  }

  async #write({ ref, version, tenant, ...letter }: DeadLetter & { ref: string; version: string; tenant: string }) {
    const writes = [{ ref, data: { ...letter } }];
    await this.#options.store.commit({ tenant, reads: [{ ref, version }], writes, ...nothingElse });
  }
}

const nothingElse = { entries: [], journal: [], publish: [] };

function refused(message: string): DormouseError {
  return new DormouseError('subscription.refused', message);
}
