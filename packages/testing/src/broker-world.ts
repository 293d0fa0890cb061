import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, createRestApi, Database } from '@dormouse/broker';
import { ManualClock } from './manual-clock.ts';
import { inProcess, type Json, type WireError } from './pubsub-wire.ts';

/** What the subscription under test is. */
export interface WorldConfig {
  readonly enableMessageOrdering: boolean;
  readonly enableExactlyOnceDelivery: boolean;
  readonly retainAckedMessages: boolean;
  readonly hasDeadLetters: boolean;
  readonly backsOff: boolean;
}

export type Command =
  | { readonly kind: 'publish'; readonly count: number; readonly key: string }
  | { readonly kind: 'pull'; readonly max: number }
  | { readonly kind: 'ack' | 'nack' | 'extend'; readonly which: number; readonly isOld: boolean }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'seek'; readonly which: number }
  | { readonly kind: 'snapshot' | 'restore' | 'crash' | 'reopen' };

/**
 * What a message is to the subscription, as far as its reader can know: `acking` was acked and may be lost with a crash,
 * `maybe` is acked or open, and both are right.
 */
type Standing = 'open' | 'acking' | 'acked' | 'maybe' | 'dead';

interface Message {
  readonly id: string;
  readonly text: string;
  readonly key: string;
  readonly publishedAt: number;
  standing: Standing;
  /** The latest that was seen; undefined after a seek. */
  attempt: number | undefined;
  lease: { readonly ackId: string; expiresAt: number } | undefined;
}

const project = 'projects/p';
const topic = `${project}/topics/news`;
const deadTopic = `${project}/topics/dead`;
const subscription = `${project}/subscriptions/reader`;
const dead = `${project}/subscriptions/dead`;
const snapshot = `${project}/snapshots/before`;
const deadlineMs = 10_000;
const maxAttempts = 5;
const longestBackoffMs = 60_000;

/**
 * A broker on a file, by its API, on virtual time, beside the smallest model that says what may be delivered. Every command
 * plays on both; what breaks a law throws.
 */
export class World implements AsyncDisposable {
  readonly #config: WorldConfig;
  readonly #clock = new ManualClock();
  readonly #folder = mkdtempSync(join(tmpdir(), 'dormouse-world-'));
  readonly #messages: Message[] = [];
  /** All that was ever given, the newest last. */
  readonly #ackIds: { readonly ackId: string; readonly message: Message }[] = [];
  readonly #forwarded = new Map<string, number>();
  #kept: Map<Message, Standing> | undefined;
  #files = 0;
  #path = '';
  #database!: Database;
  #broker!: Broker;
  #call!: (rpc: string, request: Json) => Promise<Json>;

  private constructor(config: WorldConfig) {
    this.#config = config;
  }

  static async open(config: WorldConfig): Promise<World> {
    const world = new World(config);
    world.#path = world.#newFile();
    world.#start();
    const { hasDeadLetters, backsOff, ...switches } = config;
    await world.#call('CreateTopic', { name: topic });
    await world.#call('CreateTopic', { name: deadTopic });
    await world.#call('CreateSubscription', { name: dead, topic: deadTopic });
    await world.#call('CreateSubscription', {
      name: subscription,
      topic,
      ...switches,
      ...(hasDeadLetters && { deadLetterPolicy: { deadLetterTopic: deadTopic, maxDeliveryAttempts: maxAttempts } }),
      ...(backsOff && { retryPolicy: { minimumBackoff: '10s', maximumBackoff: `${longestBackoffMs / 1000}s` } }),
    });
    return world;
  }

  async play(command: Command): Promise<void> {
    switch (command.kind) {
      case 'publish':
        return this.#publish(command.count, command.key);
      case 'pull':
        return void (await this.#pull(command.max));
      case 'ack':
      case 'nack':
      case 'extend':
        return this.#settle(command.kind, command.which, command.isOld);
      case 'pass':
        return this.#pass(command.ms);
      case 'seek':
        return this.#seek(command.which);
      case 'snapshot':
        return this.#snapshot();
      case 'restore':
        return this.#restore();
      case 'crash':
        return this.#crash();
      case 'reopen':
        return this.#reopen();
    }
  }

  /** Nothing that was published has vanished: what is open comes, and can be acked, or is forwarded. */
  async drain(): Promise<void> {
    for (let empty = 0; empty < 3; ) {
      await this.#pass(longestBackoffMs + deadlineMs);
      const received = await this.#pull(100);
      for (const { lease } of received) await this.#ack(lease!.ackId);
      empty = received.length === 0 ? empty + 1 : 0;
    }
    const open = this.#messages.filter(({ standing }) => standing === 'open').map(({ text }) => text);
    if (open.length > 0) throw new Error(`published, not acked, and gone: ${open}`);
    await this.#readDead();
    for (const { text, standing } of this.#messages) {
      if (standing === 'dead' && !this.#forwarded.has(text))
        throw new Error(`neither tried again nor forwarded: ${text}`);
    }
  }

  async #publish(count: number, orderingKey: string): Promise<void> {
    const texts = Array.from({ length: count }, (_, index) => String(this.#messages.length + index));
    const messages = texts.map((text) => ({ data: btoa(text), ...(orderingKey && { orderingKey }) }));
    const { messageIds } = (await this.#call('Publish', { topic, messages })) as { messageIds: string[] };
    this.#written();
    for (const [index, text] of texts.entries()) {
      this.#messages.push({
        id: messageIds[index]!,
        text,
        key: orderingKey,
        publishedAt: this.#clock.now(),
        standing: 'open',
        attempt: 0,
        lease: undefined,
      });
    }
  }

  async #pull(maxMessages: number): Promise<Message[]> {
    const { receivedMessages = [] } = (await this.#call('Pull', {
      subscription,
      maxMessages,
      returnImmediately: true,
    })) as { receivedMessages?: { ackId: string; deliveryAttempt?: number; message: Record<string, string> }[] };
    return receivedMessages.map(({ ackId, deliveryAttempt, message: { messageId, data, orderingKey = '' } }) => {
      const message = this.#messages.find(({ id }) => id === messageId);
      if (!message) throw new Error(`never published: ${messageId}`);
      if (atob(data!) !== message.text || orderingKey !== message.key) throw new Error(`changed: ${message.text}`);
      this.#mayCome(message);
      if (this.#config.hasDeadLetters) {
        const { attempt = 0 } = message;
        if (deliveryAttempt! <= attempt || deliveryAttempt! > maxAttempts) {
          throw new Error(`${message.text} came as attempt ${deliveryAttempt} after ${attempt}`);
        }
        message.attempt = deliveryAttempt;
      } else if (deliveryAttempt) throw new Error(`an attempt without a policy: ${deliveryAttempt}`);
      message.standing = 'open';
      message.lease = { ackId, expiresAt: this.#clock.now() + deadlineMs };
      this.#ackIds.push({ ackId, message });
      return message;
    });
  }

  #mayCome(message: Message): void {
    const { text, standing, lease, key } = message;
    if (standing === 'acked' || standing === 'acking') throw new Error(`acked, and came again: ${text}`);
    if (standing === 'dead') throw new Error(`was to be forwarded, and came again: ${text}`);
    if (lease) throw new Error(`leased, and came again: ${text}`);
    if (!this.#config.enableMessageOrdering || key === '') return;
    const first = this.#messages.find((each) => each.key === key && each.standing === 'open')!;
    if (first !== message && standing === 'open') throw new Error(`came before ${first.text} of its key: ${text}`);
  }

  /** @param isOld whether any ack id may be chosen, or only one that counts */
  async #settle(kind: 'ack' | 'nack' | 'extend', which: number, isOld: boolean): Promise<void> {
    const { enableExactlyOnceDelivery, hasDeadLetters } = this.#config;
    const counting = this.#ackIds.filter(({ ackId, message }) => message.lease?.ackId === ackId);
    const from = isOld && !(hasDeadLetters && kind === 'nack' && !enableExactlyOnceDelivery) ? this.#ackIds : counting;
    const chosen = from[which % Math.max(1, from.length)];
    if (!chosen) return;
    const { ackId, message } = chosen;
    if (kind === 'ack') return this.#ack(ackId);
    const counts = message.lease?.ackId === ackId;
    const ackDeadlineSeconds = kind === 'nack' ? 0 : 30;
    const refused = await this.#refused('ModifyAckDeadline', { ackIds: [ackId], ackDeadlineSeconds });
    this.#written(kind === 'nack' || enableExactlyOnceDelivery);
    this.#expect(counts, refused, kind, message);
    if (!counts) {
      // It may be taken for the newer delivery, where nothing forbids it.
      if (!enableExactlyOnceDelivery) message.lease = undefined;
    } else if (kind === 'nack') this.#fail(message);
    else message.lease!.expiresAt = this.#clock.now() + 30_000;
  }

  async #ack(ackId: string): Promise<void> {
    const { message } = this.#ackIds.find((each) => each.ackId === ackId)!;
    const counts = message.lease?.ackId === ackId;
    const refused = await this.#refused('Acknowledge', { ackIds: [ackId] });
    this.#expect(counts, refused, 'ack', message);
    if (this.#config.enableExactlyOnceDelivery) {
      this.#written();
      if (!counts) return;
      message.standing = 'acked';
    } else if (message.standing === 'open' || message.standing === 'dead') {
      // An old one is taken for the newer delivery where there is one, also for one that is about to be forwarded.
      message.standing = counts ? 'acking' : 'maybe';
    }
    message.lease = undefined;
  }

  /** Where delivery is exactly once, an ack id counts or is refused; elsewhere none is. */
  #expect(counts: boolean, refused: boolean, kind: string, { text, standing }: Message): void {
    // To say again what was granted may be granted again.
    if (this.#config.enableExactlyOnceDelivery && standing === 'acked') return;
    if (refused !== (this.#config.enableExactlyOnceDelivery && !counts)) {
      throw new Error(
        `${kind} of ${text} was ${refused ? 'refused' : 'taken'}; its ack id ${counts ? 'counts' : 'is old'}`,
      );
    }
  }

  async #pass(ms: number): Promise<void> {
    this.#clock.advance(ms);
    for (const message of this.#messages) {
      if (message.lease && message.lease.expiresAt <= this.#clock.now()) this.#fail(message);
    }
    await this.#settled();
  }

  /** Nacked or expired. */
  #fail(message: Message): void {
    message.lease = undefined;
    if (this.#config.hasDeadLetters && message.attempt === maxAttempts) message.standing = 'dead';
  }

  /** To when a message was published, to before all of them, or to after. */
  async #seek(which: number): Promise<void> {
    const times = [0, this.#clock.now() + 3_600_000, ...this.#messages.map(({ publishedAt }) => publishedAt)];
    const time = times[which % times.length]!;
    await this.#call('Seek', { subscription, time: new Date(time).toISOString() });
    this.#written();
    for (const message of this.#messages) {
      this.#forget(message);
      if (message.publishedAt < time) message.standing = 'acked';
      else if (this.#config.retainAckedMessages && message.standing !== 'maybe') message.standing = 'open';
    }
  }

  /** What a seek makes of a delivery: no failure. */
  #forget(message: Message): void {
    message.lease = undefined;
    message.attempt = undefined;
  }

  async #snapshot(): Promise<void> {
    if (this.#kept) await this.#call('DeleteSnapshot', { snapshot });
    await this.#call('CreateSnapshot', { name: snapshot, subscription });
    this.#written();
    this.#kept = new Map(this.#messages.map((message) => [message, message.standing]));
  }

  async #restore(): Promise<void> {
    if (!this.#kept) return;
    await this.#call('Seek', { subscription, snapshot });
    this.#written();
    for (const message of this.#messages) {
      this.#forget(message);
      const kept = this.#kept.get(message) ?? 'open';
      if (kept !== 'open' || message.standing !== 'maybe') message.standing = kept === 'dead' ? 'acked' : kept;
    }
  }

  /** What `kill -9` leaves: the file as it is, with what was written and not what was only in memory. */
  async #crash(): Promise<void> {
    const to = this.#newFile();
    for (const suffix of ['', '-wal']) {
      if (existsSync(this.#path + suffix)) copyFileSync(this.#path + suffix, to + suffix);
    }
    await this.#stop();
    this.#path = to;
    this.#start();
    for (const message of this.#messages) if (message.standing === 'acking') message.standing = 'maybe';
    this.#forgetLeases();
  }

  async #reopen(): Promise<void> {
    await this.#stop();
    this.#written();
    this.#start();
    this.#forgetLeases();
  }

  /** They outlast a process only where delivery is exactly once; elsewhere each was an attempt that failed. */
  #forgetLeases(): void {
    if (this.#config.enableExactlyOnceDelivery) return;
    for (const message of this.#messages) if (message.lease) this.#fail(message);
  }

  async #readDead(): Promise<void> {
    for (;;) {
      const answer = await this.#call('Pull', { subscription: dead, maxMessages: 100, returnImmediately: true });
      const { receivedMessages = [] } = answer as {
        receivedMessages?: { ackId: string; message: { data: string; attributes: Record<string, string> } }[];
      };
      if (receivedMessages.length === 0) return;
      for (const { message } of receivedMessages) {
        const text = atob(message.data);
        this.#forwarded.set(text, (this.#forwarded.get(text) ?? 0) + 1);
        const count = Number(message.attributes.CloudPubSubDeadLetterSourceDeliveryCount);
        if (count !== maxAttempts) throw new Error(`${text} was forwarded after ${count} attempts`);
      }
      await this.#call('Acknowledge', { subscription: dead, ackIds: receivedMessages.map(({ ackId }) => ackId) });
    }
  }

  async #refused(rpc: string, request: Json): Promise<boolean> {
    try {
      await this.#call(rpc, { subscription, ...request });
      return false;
    } catch (error) {
      if ((error as WireError).status !== 'INVALID_ARGUMENT') throw error;
      return true;
    }
  }

  /** A write was answered, and with it all that was asked before it. */
  #written(isWrite = true): void {
    if (!isWrite) return;
    for (const message of this.#messages) if (message.standing === 'acking') message.standing = 'acked';
  }

  /** What the clock has set going is over. */
  async #settled(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await this.#database.write(() => {});
    this.#written();
  }

  #newFile(): string {
    return join(this.#folder, `broker-${this.#files++}.db`);
  }

  #start(): void {
    // What a crash of the process leaves does not depend on the disk.
    this.#database = new Database(this.#path, { sync: async () => {} });
    this.#broker = new Broker(this.#database, this.#clock);
    this.#call = inProcess(createRestApi(this.#broker)).call;
  }

  async #stop(): Promise<void> {
    this.#broker.close();
    await this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(this.#folder, { recursive: true });
  }
}
