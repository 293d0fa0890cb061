import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  Broker,
  createRestApi,
  createRestServer,
  Database,
  type DatabaseOptions,
  OnePort,
  PushDispatcher,
  PushEndpoints,
  PushSigner,
} from '@dormouse/broker';
import {
  auditLog,
  type Clock,
  createEndpoint,
  Erasure,
  type Logger,
  PubsubClient,
  planOf,
  type Random,
  type Service,
  type StepPorts,
  sha256,
} from '@dormouse/core';
import { ServicePool, type ServiceStatus } from './activator.ts';
import { FileBlobStore } from './blob-store.ts';
import { admission, guarded } from './broker-guard.ts';
import type { DataDirectory } from './data-directory.ts';
import { settleDeadly } from './deadly.ts';
import { holdingFiles } from './holding-files.ts';
import { logAbout } from './host-log.ts';
import { InlineTarget } from './inline-target.ts';
import type { Manifest, ManifestService } from './manifest.ts';
import { endpointOf, isOfService, project, subscriptionName, topicName } from './names.ts';
import { provision, pushPlan } from './provision.ts';
import { pushKeyOf } from './push-key.ts';
import { Retention, type RetentionSettings } from './retention.ts';
import { Scheduler } from './scheduler.ts';
import { Spares } from './spares.ts';
import { type CommitNotice, publishingTo, SqliteStateStore } from './state-store.ts';
import { StateServer } from './state-wire.ts';
import { type TopicStatus, topicsOf } from './topics.ts';
import { UndeclaredSubscriptions } from './undeclared.ts';

export interface LocalPlatformOptions {
  readonly directory: DataDirectory;
  readonly manifest: Manifest;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly idleMs: number;
  /** How many loaded processes wait to become a service. Default 0. */
  readonly spare?: number | undefined;
  /** Services that run inside the host. */
  readonly inline: ReadonlySet<string>;
  /** What services find in their environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether the broker answers the bearer of a token. Default: everyone, as on loopback it may. */
  readonly brokerAdmits?: (token: string | undefined) => Promise<boolean>;
  /** The disk refused to sync: nothing can be promised any more. */
  readonly onFailure: (error: Error) => void;
  /** Replaces the sync of the database, for measuring. */
  readonly sync?: DatabaseOptions['sync'];
  /** How long what is done is kept. Default: for ever. */
  readonly retention?: RetentionSettings;
}

/** What moves by itself now. With all of it at rest, only the clock or a message from outside moves the system on. */
export interface UnderWay {
  /** Pushes whose handlers have not answered. */
  readonly deliveries: number;
  /** Services with a process that starts. */
  readonly waking: number;
  readonly committing: boolean;
  /** What was committed has yet to be offered. */
  readonly telling: boolean;
  readonly firingTimers: boolean;
}

const drainMs = 2_000;

/** Everything of one machine: store and broker in one file, pushes, processes, timers. */
export class LocalPlatform {
  readonly ports: StepPorts & { readonly store: SqliteStateStore; readonly blobs: FileBlobStore };
  readonly brokerPort: number;
  /** Fires after each commit, when it is durable. */
  onCommitted: (notice: CommitNotice) => void = () => {};
  readonly #stop: () => Promise<void>;
  readonly #targets: readonly (ServicePool | InlineTarget)[];
  /** What the system declared once. */
  readonly undeclared: UndeclaredSubscriptions;
  readonly erasure: Erasure;
  readonly #broker: Broker;
  readonly #services: Manifest['services'];
  readonly #underWay: () => UnderWay;

  private constructor(
    ports: LocalPlatform['ports'],
    brokerPort: number,
    broker: Broker,
    services: Manifest['services'],
    targets: readonly (ServicePool | InlineTarget)[],
    undeclared: UndeclaredSubscriptions,
    erasure: Erasure,
    underWay: () => UnderWay,
    stop: () => Promise<void>,
  ) {
    this.ports = ports;
    this.brokerPort = brokerPort;
    this.#broker = broker;
    this.#services = services;
    this.#targets = targets;
    this.undeclared = undeclared;
    this.erasure = erasure;
    this.#underWay = underWay;
    this.#stop = stop;
  }

  /** What was opened is closed again where it cannot start. */
  static async start(options: LocalPlatformOptions): Promise<LocalPlatform> {
    const undo: (() => unknown)[] = [];
    const stop = async () => {
      for (const each of undo.splice(0).reverse()) await each();
    };
    try {
      return await LocalPlatform.#start(options, undo, stop);
    } catch (error) {
      await stop();
      throw error;
    }
  }

  static async #start(
    options: LocalPlatformOptions,
    undo: (() => unknown)[],
    stop: () => Promise<void>,
  ): Promise<LocalPlatform> {
    const { directory, manifest, clock, random, log, inline } = options;
    const database = new Database(directory.join('dormouse.db'), { sync: options.sync, onFailure: options.onFailure });
    undo.push(() => database.close());
    const broker = new Broker(database, clock, { fairBy: 'ce-tenant', tidies: false });
    const audit = manifest.topics.some(({ name }) => name === auditLog.name);
    const store = new SqliteStateStore({
      database,
      ...publishingTo(broker, topicName),
      system: manifest.system,
      audit,
      closedStatuses: manifest.closedStatuses,
      now: clock.now,
    });
    const blobs = new FileBlobStore(directory.join('files'));
    const scheduler = new Scheduler(store, clock, log);
    const signer = new PushSigner({ key: () => pushKeyOf(directory), now: clock.now });
    const pushes = { issuer: signer.issuer, publicKeys: await signer.publicKeys() };
    const ports = { store, blobs, clock, random };

    const restApi = createRestApi(broker, { signer });
    const client = new PubsubClient(
      (method, url, json) => restApi({ method, url, headers: ownHeaders, body: Buffer.from(json) }),
      project,
    );
    await provision(client, broker, store, planOf(manifest, { pushOf: pushPlan }));
    const brokerToken = randomBytes(24).toString('base64url');
    const { brokerAdmits } = options;
    const admits = brokerAdmits && admission(brokerToken, brokerAdmits);
    const undeclared = new UndeclaredSubscriptions({
      broker,
      database,
      store,
      services: manifest.services,
      nameOf: subscriptionName,
      now: clock.now,
    });
    for (const name of undeclared.names()) {
      const waiting = broker.subscription(subscriptionName(name)).backlog();
      log.warn('subscription.undeclared', { subscription: name, waiting });
      // Its service may live on, and would be woken again and again by what it does not know.
      await client.modifyPushConfig(name, {});
    }
    const brokerServer = createRestServer(admits ? guarded(restApi, admits) : restApi);
    const onePort = new OnePort(brokerServer, broker, { ...(admits && { admits }) });
    const brokerPort = await listen(brokerServer, { host: '127.0.0.1', port: 0 });
    undo.push(() => {
      close(brokerServer);
      return onePort.close();
    });

    const socketFolder = makeSocketFolder(directory.path);
    undo.push(() => rmSync(socketFolder, { recursive: true, force: true }));
    const stateToken = randomBytes(24).toString('base64url');
    const stateServer = new StateServer(store, stateToken);
    await stateServer.listen(join(socketFolder, 'state'));
    undo.push(() => stateServer.close());

    // Reserved once, so that the services can be told all ports that are ours.
    const commandPorts = new Map<string, number[]>();
    for (const { name, run, limits } of manifest.services) {
      if (run.kind === 'command') commandPorts.set(name, await freePorts(limits.maxInstances));
    }
    const ownPorts = [options.environment.DORMOUSE_OWN_PORTS, brokerPort, ...[...commandPorts.values()].flat()]
      .filter(Boolean)
      .join(',');
    const environment = {
      ...options.environment,
      DORMOUSE_OWN_PORTS: ownPorts,
      PUBSUB_EMULATOR_HOST: `127.0.0.1:${brokerPort}`,
    };
    // Where V8 keeps compiled bundles, so that a wake does not compile.
    const forBundles = { ...environment, NODE_COMPILE_CACHE: directory.join('build', 'compile-cache') };
    const settings = {
      system: manifest.system,
      stateSocketPath: join(socketFolder, 'state'),
      stateToken,
      filesFolder: directory.join('files'),
      pushes,
    };
    const spares = options.spare ? new Spares(options.spare, manifest.spare, forBundles, settings, log) : undefined;
    undo.push(() => spares?.stop());

    const targets = new Map<string, ServicePool | InlineTarget>();
    for (const service of manifest.services) {
      if (inline.has(service.name) && service.run.kind === 'bundle') {
        Object.assign(process.env, environment);
        const { default: definition } = (await import(pathToFileURL(service.run.source).href)) as { default: Service };
        const endpoint = createEndpoint(definition, {
          ...ports,
          system: manifest.system,
          log: logAbout(log, { service: service.name }),
          authenticate: async () => {},
        });
        targets.set(endpointOf(service.name), new InlineTarget(service, endpoint, clock.now()));
      } else {
        const pool = new ServicePool(
          service,
          {
            clock,
            log,
            idleMs: options.idleMs,
            socketFolder,
            environment:
              service.run.kind === 'bundle' ? forBundles : { ...environment, DORMOUSE_BROKER_TOKEN: brokerToken },
            spares,
            settings,
            audienceOf: endpointOf,
          },
          commandPorts.get(service.name) ?? [],
        );
        targets.set(endpointOf(service.name), pool);
      }
    }

    const endpoints = new PushEndpoints(clock);
    const dispatcher = new PushDispatcher(broker, {
      resolve: (endpoint) => targets.get(endpoint) ?? (isOfService(endpoint) ? undefined : endpoints.target(endpoint)),
      authorize: (oidcToken, endpoint) => signer.authorize(oidcToken, endpoint),
      onDeadly: settleDeadly(manifest, { ...ports, system: manifest.system, log }),
      onSettled: (subscription, { message, attempt }, outcome) => {
        if (!outcome.acked)
          log.warn('push.nacked', {
            subscription,
            messageId: message.messageId,
            delivery: attempt,
            reason: outcome.reason,
          });
      },
    });
    undo.push(async () => {
      scheduler.stop();
      const drained = AbortSignal.timeout(drainMs);
      await Promise.race([dispatcher.stop(), new Promise((resolve) => drained.addEventListener('abort', resolve))]);
      endpoints.close();
      await Promise.all([...targets.values()].map((target) => target.stop()));
      await dispatcher.stop();
      broker.close();
    });
    for (const subscription of broker.subscriptions) dispatcher.add(subscription);
    scheduler.start();
    if (options.retention) {
      const retention = new Retention({ directory, database, broker, store, clock, log, settings: options.retention });
      undo.push(() => retention.stop());
      retention.start();
    }

    const platform = new LocalPlatform(
      ports,
      brokerPort,
      broker,
      manifest.services,
      [...targets.values()],
      undeclared,
      new Erasure({
        ...ports,
        closedStatuses: manifest.closedStatuses ?? [],
        holdingFiles: (work) => holdingFiles(directory, clock, work),
        scrub: () => database.rewrite(),
      }),
      () => ({
        deliveries: dispatcher.inFlight,
        waking: [...targets.values()].filter((target) => target.status().state === 'waking').length,
        committing: !database.isIdle,
        telling: broker.deliveries.isTelling,
        firingTimers: scheduler.isFiring,
      }),
      stop,
    );
    store.onCommitted = (notice) => {
      if (notice.dueAt !== undefined) scheduler.wake(notice.dueAt, notice.at);
      platform.onCommitted(notice);
    };
    return platform;
  }

  services(): ServiceStatus[] {
    return this.#targets.map((target) => target.status());
  }

  topics(): TopicStatus[] {
    return topicsOf(this.#broker, (subscription) => this.undeclared.has(subscription));
  }

  /**
   * Stops the pushes of a subscription, or lets them go on; outlasts restarts. What is under way is finished, what comes
   * waits in the log. False where the system declares no such subscription.
   */
  async pause(name: string, paused: boolean): Promise<boolean> {
    if (!this.#services.some(({ subscriptions }) => subscriptions.some((each) => each.name === name))) return false;
    await this.#broker.pause(subscriptionName(name), paused);
    return true;
  }

  /**
   * The code of these services is being replaced: what runs finishes what it holds and goes, and their messages wait until
   * `renew`. With a failure they are shown as failing meanwhile. Services inside the host stay as they are.
   */
  hold(names: readonly string[], failure?: { readonly reason: string; readonly output: string }): void {
    for (const target of this.#targets) {
      if (target instanceof ServicePool && names.includes(target.status().name)) target.hold(failure);
    }
  }

  /** There is new code for services that were held; the others wake from their new files from now on. */
  renew(services: readonly ManifestService[]): void {
    for (const target of this.#targets) {
      const service = services.find(({ name }) => name === target.status().name);
      if (service && target instanceof ServicePool) target.renew(service);
    }
  }

  underWay(): UnderWay {
    return this.#underWay();
  }

  /** Drains what is under way for up to two seconds, stops every instance, closes the file. */
  stop(): Promise<void> {
    return this.#stop();
  }
}

/**
 * Where the sockets are: not below the data directory, since a socket's path has at most 107 bytes. One for each data
 * directory, whose lock we hold, so what is there is of a host that was killed. Made anew, or it is somebody else's.
 */
function makeSocketFolder(dataDirectory: string): string {
  const folder = join(tmpdir(), `dormouse-${sha256(dataDirectory).slice(0, 12)}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/** Of what the host itself asks its broker. */
const ownHeaders = { host: 'localhost', 'content-type': 'application/json' };

function listen(
  server: import('node:net').Server,
  where: { host: string; port: number } | { path: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => resolve((server.address() as AddressInfo).port));
  });
}

function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createNetServer());
  const ports = await Promise.all(servers.map((server) => listen(server, { host: '127.0.0.1', port: 0 })));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
