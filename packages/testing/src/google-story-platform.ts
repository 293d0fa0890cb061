import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { Broker, createRestApi, createRestServer, Database, PushDispatcher } from '@dormouse/broker';
import {
  createEndpoint,
  Erasure,
  PubsubClient,
  planOf,
  provision,
  type Service,
  systemClock,
  systemRandom,
  type UnitOfWork,
  workflowOf,
} from '@dormouse/core';
import {
  Firestore,
  type FirestoreStateStore,
  GoogleRest,
  googlePorts,
  pubsubOver,
  type RestAnswer,
  type RestRequest,
  type Route,
  tickRoute,
} from '@dormouse/gcp';
import { InlineTarget, type ManifestService, settleDeadly, topicsOf } from '@dormouse/local';
import { StorageServer } from './google/storage-server.ts';
import { TasksServer } from './google/tasks-server.ts';
import type { StoryPlatform, StoryPlatformOptions } from './story-platform.ts';

/** Of Pub/Sub, as on one machine: a story may look into it. */
const project = 'dormouse';
const bucket = 'story-files';
const account = 'story@story.example';
let stories = 0;

/**
 * Google's engines for a story: the stores and clients that services have on Cloud Run, over Google's Firestore emulator in a
 * project of the story's own, and over servers of Pub/Sub, Cloud Storage and Cloud Tasks in this process, which go by its clock.
 * Services run inline.
 * @param firestore `host:port` of the emulator
 */
export async function startGoogleStoryPlatform(
  { manifest, clock, random, log }: StoryPlatformOptions,
  firestore: string,
): Promise<StoryPlatform> {
  const undo: (() => unknown)[] = [];
  const requests = new Requests();

  const database = new Database(':memory:');
  undo.push(() => database.close());
  const broker = new Broker(database, clock, { fairBy: 'ce-tenant', tidies: false });
  const brokerServer = createRestServer(createRestApi(broker));
  const brokerPort = await listen(brokerServer);
  undo.push(() => close(brokerServer));
  const tasks = await TasksServer.start({ clock });
  undo.push(() => tasks[Symbol.asyncDispose]());
  const storage = await StorageServer.start({ buckets: [bucket] });
  undo.push(() => storage[Symbol.asyncDispose]());

  const pubsub = new PubsubClient(pubsubOver(requests.to(`http://127.0.0.1:${brokerPort}`)), project);
  const ticked = createServer();
  const tickPort = await listen(ticked);
  undo.push(() => close(ticked));
  const queue = `projects/${project}/locations/here/queues/timers`;
  tasks.createQueue(queue);
  const ports = googlePorts({
    declared: manifest,
    firestore: new Firestore({
      project: `story-${process.pid}-${++stories}`,
      rest: requests.to(`http://${firestore}`, 'owner'),
    }),
    storage: requests.to(storage.url),
    bucket,
    pubsub,
    tasks: requests.to(tasks.url),
    queue,
    serviceUrl: `http://127.0.0.1:${tickPort}`,
    serviceAccount: account,
    clock,
    random,
    log,
  });
  let onCommitted: StoryPlatform['onCommitted'] = () => {};
  tellCommits(ports.store, (notice) => onCommitted(notice));
  answerTicks(ticked, tickRoute({ ports, authenticate: async () => {}, log }));

  const targets = new Map<string, InlineTarget>();
  for (const service of manifest.services) {
    const endpoint = createEndpoint(await codeOf(service), {
      ...ports,
      system: manifest.system,
      log,
      authenticate: async () => {},
    });
    targets.set(endpointOf(service.name), new InlineTarget(service, endpoint, clock.now()));
  }
  const pushOf = (service: string) => ({ pushEndpoint: endpointOf(service) });
  await provision(pubsub, planOf(manifest, { pushOf }));
  const dispatcher = new PushDispatcher(broker, {
    resolve: (endpoint) => targets.get(endpoint),
    authorize: async () => '',
    onDeadly: settleDeadly(manifest, { ...ports, system: manifest.system, log }),
  });
  undo.push(async () => {
    await dispatcher.stop();
    broker.close();
  });
  for (const subscription of broker.subscriptions) dispatcher.add(subscription);

  const elsewhere = async (): Promise<never> => {
    throw new Error('no story on Google’s engines changes subscriptions');
  };
  return {
    ports,
    brokerPort,
    erasure: new Erasure({
      ...ports,
      closedStatuses: manifest.closedStatuses ?? [],
      holdingFiles: (work) => work(),
      scrub: async () => {},
    }),
    undeclared: { move: elsewhere, forget: elsewhere },
    pause: elsewhere,
    services: () => [...targets.values()].map((target) => target.status()),
    topics: () => topicsOf(broker, () => false),
    set onCommitted(tell: StoryPlatform['onCommitted']) {
      onCommitted = tell;
    },
    underWay: () => ({
      deliveries: dispatcher.inFlight,
      waking: 0,
      committing: requests.underWay > 0 || !database.isIdle,
      telling: broker.deliveries.isTelling,
      firingTimers: tasks.inFlight > 0,
    }),
    async stop() {
      for (const each of undo.splice(0).reverse()) await each();
    },
  };
}

/** Requests to Google's engines, and how many of them have no answer yet. */
class Requests {
  underWay = 0;

  to(url: string, token?: string): GoogleRest {
    const requests = this;
    class CountedRest extends GoogleRest {
      override async request(request: RestRequest): Promise<RestAnswer> {
        requests.underWay++;
        try {
          return await super.request(request);
        } finally {
          requests.underWay--;
        }
      }
    }
    return new CountedRest({
      url,
      ...(token !== undefined && { token: async () => token }),
      clock: systemClock,
      random: systemRandom,
    });
  }
}

/** From now on, after each of them. */
function tellCommits(store: FirestoreStateStore, tell: StoryPlatform['onCommitted']): void {
  const commit = store.commit.bind(store);
  store.commit = async (unit: UnitOfWork) => {
    const committed = await commit(unit);
    const chains = [
      ...unit.entries.map(({ chain }) => workflowOf(chain)),
      ...unit.journal.map((each) => each.workflow),
    ];
    const workflows = [...new Set(chains.filter((workflow) => workflow !== undefined))];
    if (workflows.length > 0) tell({ workflows });
    return committed;
  };
}

async function codeOf({ name, run }: ManifestService): Promise<Service> {
  if (run.kind === 'bundle') return (await import(pathToFileURL(run.source).href)).default;
  throw new Error(`service "${name}" is a command: a story on Google’s engines runs services inline`);
}

function endpointOf(service: string): string {
  return `http://${service}.story/pubsub-push`;
}

function answerTicks(server: Server, { admit, answer }: Route): void {
  server.on('request', async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const refused = await admit({ method: request.method!, authorization: request.headers.authorization });
    const { status, json } = refused ?? (await answer(body));
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json ?? {}));
  });
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
