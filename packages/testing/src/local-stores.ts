import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, Database } from '@dormouse/broker';
import { type Clock, systemClock } from '@dormouse/core';
import { publishingTo, RemoteStateStore, SqliteStateStore, StateServer } from '@dormouse/local';

export interface LocalStoresOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** The store keeps what it publishes in its outbox. Default: broker and store share their transactions. */
  readonly apart?: boolean;
  /** Replaces the sync of the database. */
  readonly sync?: () => Promise<void>;
}

/** A database with broker and store in it, as a host has them. In memory, or in a folder that goes with it. */
export class LocalStores implements AsyncDisposable {
  readonly database: Database;
  readonly broker: Broker;
  readonly store: SqliteStateStore;
  readonly #folder: string | undefined;

  private constructor(database: Database, { clock = systemClock, apart = false }: LocalStoresOptions, folder?: string) {
    this.database = database;
    this.broker = new Broker(database, clock, { tidies: false });
    this.store = new SqliteStateStore({
      database,
      ...(apart ? { declares: () => true } : publishingTo(this.broker, (topic) => `projects/test/topics/${topic}`)),
      system: 'test',
      audit: false,
      now: clock.now,
    });
    this.#folder = folder;
  }

  static inMemory(options: LocalStoresOptions = {}): LocalStores {
    return new LocalStores(new Database(':memory:', { sync: options.sync }), options);
  }

  static onDisk(options: LocalStoresOptions = {}): LocalStores {
    const folder = mkdtempSync(join(tmpdir(), 'dormouse-stores-'));
    return new LocalStores(new Database(join(folder, 'test.db'), { sync: options.sync }), options, folder);
  }

  /** As they lie there, also what no store lists. */
  documentsIn(collection: string): { readonly tenant: string; readonly data: Record<string, unknown> }[] {
    const rows = this.database.prepare('SELECT tenant, data FROM document WHERE collection = ?').all(collection);
    return rows.map(({ tenant, data }) => ({ tenant: tenant as string, data: JSON.parse(data as string) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.broker.close();
    await this.database.close();
    if (this.#folder) rmSync(this.#folder, { recursive: true });
  }
}

/** The same store as an instance sees it: over the wire. */
export async function overTheWire(stores: LocalStores): Promise<RemoteStateStore & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-wire-'));
  const socketPath = join(folder, 'state');
  const server = new StateServer(stores.store, 'secret');
  await server.listen(socketPath);
  const remote = new RemoteStateStore(socketPath, 'secret');
  return Object.assign(remote, {
    async [Symbol.asyncDispose]() {
      server.close();
      await stores[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  });
}
