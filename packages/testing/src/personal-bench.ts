import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  type Actor,
  collection,
  createEndpoint,
  type EndpointPorts,
  Erasure,
  type ErasurePorts,
  type ErasureProgress,
  type ErasureRequest,
  type FileRef,
  type Handler,
  type Message,
  on,
  service,
  systemClock,
  systemRandom,
  workflow,
} from '@dormouse/core';
import { FileBlobStore, verifiedChains } from '@dormouse/local';
import { expect } from 'vitest';
import { LocalStores } from './local-stores.ts';
import { servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';
import { asked, taker } from './thing.ts';

interface Thing {
  readonly n: number;
  readonly clientId?: string;
  readonly status?: string;
  readonly file?: FileRef;
}
export const thing = workflow<Thing>({ idPrefix: 'WF', client: ({ clientId }) => clientId });
export const people = collection<{ name: string; born?: number }>('people', { personal: true });
export const wf = 'workflows/WF-1';
export const ada = `${wf}/people/ada`;
export const admin: Actor = { name: 'root', role: 'admin', tenant: 'default' };

/** One subscription's handler over a store and files on disk. */
export class PersonalBench implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'dormouse-personal-'));
  readonly stores = LocalStores.onDisk();
  readonly blobs = new FileBlobStore(this.folder);
  readonly #told: string[] = [];
  #messages = 0;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }

  static async open(): Promise<PersonalBench> {
    const bench = new PersonalBench();
    for (const name of [asked.name, 'dead.letter']) {
      await bench.stores.broker.createTopic({ name: `projects/test/topics/${name}` });
    }
    await bench.handle(async (_event, step) => {
      (await step.workflow(thing)).create({ n: 0, clientId: 'C-1', status: 'closed' });
    });
    return bench;
  }

  /** Runs a handler for a new event. What went to the host's log is in `told`. */
  async handle(handler: Handler<{ n: number }>, message: Message = this.event()): Promise<void> {
    const record = (moment: string, facts?: object) => void this.#told.push(`${moment} ${JSON.stringify(facts)}`);
    const ports: EndpointPorts = {
      ...servicePorts(this.stores.store, systemClock),
      blobs: this.blobs,
      random: systemRandom,
      log: { info: record, warn: record, error: record },
    };
    await createEndpoint(service('taker', [on(asked, handler)]), ports).deliver({
      subscription: taker,
      message,
      messageId: String(++this.#messages),
      publishTime: '2026-01-01T00:00:00Z',
    });
  }

  event(subject = wf, tenant = 'default'): Message {
    return testEvent({ id: `E${++this.#messages}`, type: asked.name, subject, tenant, data: { n: 1 } });
  }

  erasure(changes: Partial<ErasurePorts> = {}): Erasure {
    return new Erasure({
      store: this.stores.store,
      blobs: this.blobs,
      clock: systemClock,
      random: systemRandom,
      closedStatuses: ['closed'],
      holdingFiles: (work) => work(),
      scrub: () => this.stores.database.rewrite(),
      ...changes,
    });
  }

  erase(request: Partial<ErasureRequest> = {}, changes: Partial<ErasurePorts> = {}): Promise<ErasureProgress> {
    return this.erasure(changes).erase({ client: 'C-1', force: false, later: false, ...request }, admin);
  }

  /** All that is on disk, as bytes: the database with its log, and the files. */
  bytes(): string {
    const { path } = this.stores.database;
    const files = readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile())
      .map((each) => join(each.parentPath, each.name));
    return [path, `${path}-wal`, ...files].map((file) => readFileSync(file, 'latin1')).join('\n');
  }

  get told(): string {
    return this.#told.join('\n');
  }

  /** Codes of the dead letters, in the order of their deaths. */
  async died(): Promise<unknown[]> {
    const { documents } = await this.stores.store.find({ collection: 'dead-letters' });
    return documents.map(({ data }) => data!.code).reverse();
  }

  async read(ref: string): Promise<Record<string, unknown> | null> {
    return (await this.stores.store.get([ref]))[0]!.data;
  }

  /** What the chain of a document says, entry by entry. */
  async changes(chain: string): Promise<unknown[]> {
    const entries = await Array.fromAsync(this.stores.store.log({ workflow: wf }));
    return entries.flatMap(({ kind, entry }) => (kind === 'log' && entry.chain === chain ? [entry.changes] : []));
  }

  problems(): (string | undefined)[] {
    const database = new DatabaseSync(this.stores.database.path, { readOnly: true });
    try {
      return [...verifiedChains(database)].flatMap(({ chain, problem }) => (problem ? [`${chain}: ${problem}`] : []));
    } finally {
      database.close();
    }
  }

  /** Changes the database behind everybody's back. */
  tamper(sql: string): void {
    const database = new DatabaseSync(this.stores.database.path);
    expect(Number(database.prepare(sql).run().changes)).toBe(1);
    database.close();
  }
}
