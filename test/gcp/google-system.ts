import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { PubsubClient, provision } from '@dormouse/core';
import { Firestore, type GooglePlan, googlePlanOf, pubsubOver } from '@dormouse/gcp';
import type { Manifest } from '@dormouse/local';
import { BrokerServer } from '../../packages/testing/src/broker-server.ts';
import type { Subject } from '../chaos/subject.ts';
import { until } from '../system/until.ts';
import { CloudRun } from './cloud-run.ts';
import type { Engines } from './engines.ts';
import { SandboxProcess } from './sandbox-process.ts';

/** Whose Pub/Sub: Google's emulator, or our own broker, which filters and sends tokens. */
export type Wire = 'emulator' | 'broker';

/** What may be put something before. */
export type Between = 'firestore' | 'pubsub' | 'storage' | 'tasks';

export interface GoogleSystemOptions {
  readonly engines: Engines;
  readonly wire: Wire;
  readonly manifest: Manifest;
  /** Where the images of all its services lie. */
  readonly images: string;
  /** For the sandbox's record. */
  readonly folder: string;
  readonly idleMs: number;
  /** What services find in place of an engine's address, `host:port`. Default: the address itself. */
  readonly between?: (engine: Between, address: string) => Promise<string> | string;
  /** Settings of the services, on top of the sandbox's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Hears what services write, line by line. */
  readonly onSaid?: (service: string, line: string) => void;
  /** Ends waiting, and whatever waits. */
  readonly gone?: AbortSignal;
}

const kept = 20_000;
let systems = 0;

/** A whole system as it would be on Google Cloud: provisioned by its plan, its services started from their images. */
export class GoogleSystem implements Subject, AsyncDisposable {
  readonly data: string;
  readonly plan: GooglePlan;
  readonly cloudRun: CloudRun;
  readonly wire: Wire;
  /** Of our broker's, where that is the wire. */
  readonly broker: BrokerServer | undefined;
  /** To publish as anybody outside does. */
  readonly pubsub: PubsubClient;
  readonly firestore: Firestore;
  /** The console's first. */
  readonly token: string;
  readonly #engines: Engines;
  readonly #sandbox: SandboxProcess | undefined;
  readonly #gone: AbortSignal;
  readonly #said: { text: string };
  #sweeps: ReturnType<typeof setInterval> | undefined;

  private constructor(
    parts: Pick<GoogleSystem, 'data' | 'plan' | 'cloudRun' | 'wire' | 'broker' | 'pubsub' | 'firestore'>,
    engines: Engines,
    sandbox: SandboxProcess | undefined,
    token: string,
    gone: AbortSignal,
    said: { text: string },
  ) {
    this.data = parts.data;
    this.plan = parts.plan;
    this.cloudRun = parts.cloudRun;
    this.wire = parts.wire;
    this.broker = parts.broker;
    this.pubsub = parts.pubsub;
    this.firestore = parts.firestore;
    this.#engines = engines;
    this.#sandbox = sandbox;
    this.token = token;
    this.#gone = gone;
    this.#said = said;
  }

  static async start(options: GoogleSystemOptions): Promise<GoogleSystem> {
    const { engines, wire, manifest, images, folder, idleMs, environment = {} } = options;
    const { gone = new AbortController().signal, onSaid } = options;
    const project = `project-${++systems}`;
    const data = join(folder, project);
    const broker = wire === 'broker' ? await BrokerServer.open() : undefined;
    const pubsub = broker?.address ?? engines.pubsub.address;
    const identities = [engines.metadata.address, ...(broker ? [broker.address] : [])];

    const address = 'http://{service}.stand-in';
    const plan = googlePlanOf(manifest, { project, projectNumber: '1', region: 'europe-west1', serviceUrl: address });
    const { caller } = plan;
    const said = { text: '' };
    const cloudRun = new CloudRun({
      idleMs,
      admit: engines.admission(caller, identities),
      said: (service, line) => {
        onSaid?.(service, line);
        said.text = `${said.text}${service} ${line}\n`.slice(-kept);
      },
      // Google's emulator sends no tokens: what Pub/Sub would send is added on the way.
      ...(!broker && {
        authorize: (audience) => engines.metadata.authorize({ serviceAccountEmail: caller, audience }, audience),
      }),
    });
    const urls = new Map<string, string>();
    for (const { name, service } of plan.services) {
      urls.set(address.replace('{service}', name), await cloudRun.reserve(service));
    }
    const text = [...urls].reduce((told, [planned, url]) => told.replaceAll(planned, url), JSON.stringify(plan));
    // Google's emulator knows no longer retention than that, as Pub/Sub had it once.
    const placed: GooglePlan = JSON.parse(broker ? text : text.replaceAll('"2678400s"', '"604800s"'));

    const client = new PubsubClient(pubsubOver(engines.rest(pubsub)), project);
    await provision(client, placed);
    for (const { name } of placed.buckets) await engines.createBucket(name);
    for (const { name, location } of placed.queues) {
      engines.tasks.createQueue(`projects/${project}/locations/${location}/queues/${name}`, { minBackoffMs: 1_000 });
    }
    const token = `dm_${'0'.repeat(16)}_${randomBytes(32).toString('base64url')}`;
    const webhook = `${cloudRun.urlOf('console')}/api/responses`;
    const sandbox =
      manifest.sandbox === undefined
        ? undefined
        : await SandboxProcess.start(manifest.sandbox, data, webhook, `whsec_${randomBytes(24).toString('base64')}`);
    const { between = (_engine, address) => address } = options;
    const emulators = {
      FIRESTORE_EMULATOR_HOST: await between('firestore', engines.firestore.address),
      PUBSUB_EMULATOR_HOST: await between('pubsub', pubsub),
      STORAGE_EMULATOR_HOST: await between('storage', engines.storage.address),
      CLOUD_TASKS_EMULATOR_HOST: await between('tasks', engines.tasks.address),
      GCE_METADATA_HOST: engines.metadata.address,
      DORMOUSE_IDENTITY_EMULATOR_HOST: identities.join(','),
    };
    for (const { service, environment: planned, concurrency, maxInstances, invoker } of placed.services) {
      cloudRun.deploy(service, {
        folder: join(images, service),
        environment: { ...emulators, ...sandbox?.environment, ...environment, ...planned, DORMOUSE_ADMIN_TOKEN: token },
        concurrency,
        maxInstances,
        invoker,
      });
    }
    const firestore = new Firestore({ project, rest: engines.rest(engines.firestore.address, async () => 'owner') });
    const parts = { data, plan: placed, cloudRun, wire, broker, pubsub: client, firestore };
    return new GoogleSystem(parts, engines, sandbox, token, gone, said);
  }

  /** The last that the services wrote. */
  get said(): string {
    return this.#said.text;
  }

  /** The console's, or of the sandbox's own pages. 5xx and no answer at all are asked again. */
  ask(path: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
    const base = path.startsWith('/sandbox') && this.#sandbox ? this.#sandbox.url : this.cloudRun.urlOf('console');
    const own = { ...(headers as Record<string, string>), authorization: `Bearer ${this.token}` };
    return this.until(`an answer to ${path}`, async () => {
      try {
        const response = await fetch(base + path, { ...init, headers: own });
        // Whole, or not at all.
        const body = await response.arrayBuffer();
        if ([429, 502, 503].includes(response.status)) return undefined;
        return new Response(body.byteLength > 0 ? body : null, { status: response.status, headers: response.headers });
      } catch {
        return undefined;
      }
    });
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.ask(path);
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** What the console streams, until it has shown something. */
  async stream(path: string, shown: RegExp): Promise<string> {
    const headers = { accept: 'text/event-stream', authorization: `Bearer ${this.token}` };
    const { body } = await fetch(this.cloudRun.urlOf('console') + path, {
      headers,
      signal: AbortSignal.timeout(45_000),
    });
    let text = '';
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (shown.test(text)) break;
    }
    return text;
  }

  until<T>(fact: string, probe: () => T | Promise<T>, boundMs?: number): Promise<NonNullable<Exclude<T, false>>> {
    const look = () => {
      this.#gone.throwIfAborted();
      return probe();
    };
    return until(fact, look, boundMs).catch((error: Error) => {
      throw new Error(`${error.message}; the services said last:\n${this.said}`);
    });
  }

  /** Nothing is being answered, no task runs, and nothing waits to be published. */
  async isQuiet(): Promise<boolean> {
    if (this.cloudRun.underWay > 0 || this.#engines.tasks.inFlight > 0) return false;
    return (await this.documents('outbox')).length === 0;
  }

  /** Once what Cloud Scheduler is to send every five minutes. @returns how many timers were due; undefined where it was not answered */
  async sweep(): Promise<number | undefined> {
    let found: number | undefined = 0;
    for (const { method, url, account, audience } of this.plan.schedules) {
      const authorization = await this.#engines.metadata.authorize({ serviceAccountEmail: account, audience }, url);
      const answer = await fetch(url, { method, headers: { authorization } })
        .then((response) => response.json() as Promise<{ due: number }>)
        .catch(() => undefined);
      found = answer && found !== undefined ? found + answer.due : undefined;
    }
    return found;
  }

  /** From now on, and however often: one that is not answered is made up for by the next. */
  startSweeps(everyMs: number): void {
    this.stopSweeps();
    this.#sweeps = setInterval(() => void this.sweep(), everyMs);
  }

  stopSweeps(): void {
    clearInterval(this.#sweeps);
  }

  /** No process lives. */
  asleep(boundMs?: number): Promise<true> {
    return this.until('all services are asleep', () => this.cloudRun.instances().length === 0, boundMs);
  }

  /** All of a collection, by their paths. */
  async documents(collection: string): Promise<{ readonly path: string; readonly data: Record<string, unknown> }[]> {
    const found: Awaited<ReturnType<Firestore['query']>> = [];
    for (;;) {
      const last = found.at(-1);
      const page = await this.firestore.query({
        collection,
        orderBy: [{ field: '__name__' }],
        ...(last && { startAfter: [{ path: last.path }] }),
        limit: 500,
      });
      found.push(...page);
      if (page.length < 500) break;
    }
    return found.map(({ path, fields }) => {
      const text = fields.data && 'stringValue' in fields.data ? fields.data.stringValue : '{}';
      return { path, data: JSON.parse(text) };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopSweeps();
    await this.cloudRun[Symbol.asyncDispose]();
    await this.#sandbox?.[Symbol.asyncDispose]();
    await this.broker?.[Symbol.asyncDispose]();
  }
}
