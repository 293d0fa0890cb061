import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Admits,
  Broker,
  createRestApi,
  createRestServer,
  Database,
  newPushKey,
  OnePort,
  PushDispatcher,
  PushEndpoints,
  PushSigner,
} from '@dormouse/broker';
import { type Clock, systemClock } from '@dormouse/core';

export interface BrokerServerOptions {
  /** Default: a file of its own, which goes with it. */
  readonly path?: string;
  /** Default: a free one. */
  readonly port?: number;
  readonly admits?: Admits;
  readonly silentMs?: number;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Whose the tokens of pushes are. Default Google's. */
  readonly issuer?: string;
}

/** A broker on a port, for both wires. */
export class BrokerServer implements AsyncDisposable {
  readonly broker: Broker;
  readonly port: number;
  readonly #database: Database;
  readonly #close: () => Promise<void>;

  private constructor(broker: Broker, database: Database, port: number, close: () => Promise<void>) {
    this.broker = broker;
    this.#database = database;
    this.port = port;
    this.#close = close;
  }

  static async open({
    path,
    port = 0,
    clock = systemClock,
    issuer,
    ...options
  }: BrokerServerOptions = {}): Promise<BrokerServer> {
    const folder = path === undefined ? mkdtempSync(join(tmpdir(), 'dormouse-broker-')) : undefined;
    const database = new Database(path ?? join(folder!, 'broker.db'));
    const broker = new Broker(database, clock);
    const signer = new PushSigner({ key: newPushKey, now: clock.now, issuer });
    const endpoints = new PushEndpoints(clock);
    const dispatcher = new PushDispatcher(broker, {
      resolve: (endpoint) => endpoints.target(endpoint),
      authorize: (oidcToken, endpoint) => signer.authorize(oidcToken, endpoint),
    });
    const server = createRestServer(createRestApi(broker, { signer }));
    const onePort = new OnePort(server, broker, options);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    for (const subscription of broker.subscriptions) dispatcher.add(subscription);
    return new BrokerServer(broker, database, (server.address() as AddressInfo).port, async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await onePort.close();
      await closed;
      const stopped = dispatcher.stop();
      endpoints.close();
      await stopped;
      broker.close();
      await database.close();
      if (folder) rmSync(folder, { recursive: true });
    });
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  /** All that was to be written by now is written. */
  written(): Promise<void> {
    return this.#database.write(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}
