import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, Database } from '@dormouse/broker';
import {
  createEndpoint,
  defaultTenant,
  deliveryOf,
  type Endpoint,
  encodeMessage,
  type Ref,
  refOf,
  type Service,
  type StateStore,
  systemClock,
  systemRandom,
  type Topic,
  workflows,
} from '@dormouse/core';
import { FileBlobStore, publishingTo, SqliteStateStore } from '@dormouse/local';

/** Steps of one service over a store of its own on disk, each begun by hand: what a delivery costs without the delivering. */
export class StepRunner {
  readonly store: SqliteStateStore;
  readonly file: string;
  readonly #folder: string;
  readonly #database: Database;
  readonly #broker: Broker;
  readonly #endpoint: Endpoint;
  #events = 0;

  private constructor(folder: string, service: Service, through: (store: StateStore) => StateStore) {
    this.#folder = folder;
    this.file = join(folder, 'state.db');
    this.#database = new Database(this.file);
    this.#broker = new Broker(this.#database, systemClock, { tidies: false });
    this.store = new SqliteStateStore({
      database: this.#database,
      ...publishingTo(this.#broker, topicName),
      system: 'bench',
      audit: false,
      now: systemClock.now,
    });
    this.#endpoint = createEndpoint(service, {
      system: 'bench',
      store: through(this.store),
      blobs: new FileBlobStore(join(folder, 'files')),
      clock: systemClock,
      random: systemRandom,
      log: { info() {}, warn() {}, error() {} },
      authenticate: async () => {},
    });
  }

  /** @param through what the service sees of the store. Default all */
  static async open(
    service: Service,
    topics: readonly Topic[],
    through: (store: StateStore) => StateStore = (store) => store,
  ): Promise<StepRunner> {
    const runner = new StepRunner(mkdtempSync(join(tmpdir(), 'steps-bench-')), service, through);
    for (const { name } of topics) await runner.#broker.createTopic({ name: topicName(name) });
    return runner;
  }

  /** On the file that a halted one left. */
  static reopen(halted: StepRunner, service: Service): StepRunner {
    return new StepRunner(halted.#folder, service, (store) => store);
  }

  /** One event for a subscription, about a workflow. Resolves when its step is committed. */
  async run(subscription: string, topic: Topic, workflow: string, data: unknown): Promise<void> {
    const id = `event-${++this.#events}`;
    const message = encodeMessage({
      id,
      type: topic.name,
      source: '//bench',
      subject: workflowRef(workflow),
      time: Date.now(),
      dataschema: `${topic.name}/${topic.version}`,
      tenant: defaultTenant,
      causationId: undefined,
      traceparent: undefined,
      data,
    });
    const received = { ...message, messageId: id, publishTime: new Date().toISOString() };
    await this.#endpoint.deliver(deliveryOf(subscription, received));
  }

  /** Closes the file, and leaves it. */
  async halt(): Promise<void> {
    this.#broker.close();
    await this.#database.close();
  }

  /** What a halted one left. */
  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  async stop(): Promise<void> {
    await this.halt();
    this.remove();
  }
}

export function workflowRef(id: string): Ref {
  return refOf(workflows, id);
}

function topicName(topic: string): string {
  return `projects/bench/topics/${topic}`;
}
