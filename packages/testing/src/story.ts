import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createConsole, type Mount, Tokens, type Trace } from '@dormouse/console';
import {
  type Duration,
  durationMs,
  everyTenant,
  type Logger,
  type Ref,
  type Sandbox,
  type SandboxModule,
} from '@dormouse/core';
import {
  DataDirectory,
  describeSystem,
  LocalPlatform,
  type LocalPlatformOptions,
  loadCommands,
  type RetentionSettings,
} from '@dormouse/local';
import { Front } from './front.ts';
import { startGoogleStoryPlatform } from './google-story-platform.ts';
import { ManualClock } from './manual-clock.ts';
import { SeededRandom } from './seeded-random.ts';
import type { StoryPlatform, StoryPlatformOptions } from './story-platform.ts';

export interface StoryOptions {
  /** The system's file, absolute. */
  readonly systemFile: string;
  /** Settings of the services, on top of the sandbox's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** When it begins, epoch milliseconds. Default 2026-01-01, 00:00 UTC. */
  readonly at?: number;
  /** Of ids and backoffs. What runs at once may draw its numbers in another order the next time. Default 1. */
  readonly seed?: number;
  /** How long what is done is kept. Default: for ever. */
  readonly retention?: RetentionSettings;
}

/** One line of the system's log. */
export interface LogLine {
  readonly level: keyof Logger;
  readonly moment: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A message on the wire: its data in base64. */
export interface WireMessage {
  readonly data: string;
  readonly attributes: Readonly<Record<string, string>>;
}

interface Pulled {
  readonly receivedMessages?: readonly { readonly ackId: string; readonly message: WireMessage }[];
}

/** Of the platform's broker. */
const project = 'dormouse';
/** Of real time, for work that is under way: far more than any step of a story takes. */
const settleBoundMs = 90_000;

/**
 * A whole system in one process, on virtual time: the real platform with its database file, broker, push dispatcher,
 * scheduler and console, the services inline, and the app's own sandbox as the outside world, over loopback. Time stands
 * still until the story moves it, so that a month takes milliseconds:
 *
 *   await using story = await Story.start({ systemFile });
 *   const { workflowId } = await story.post('/api/workflows/create', request);   // given
 *   await story.advance('30d');                                                  // when
 *   expect((await story.trace(workflowId)).rows).toContainEqual(…);              // then
 *
 * Every moment at which something is due is visited in turn, and everything settles before the next: no handler runs, no
 * commit waits for the disk, no answer of the outside is on its way. A caller whom the sandbox leaves without an answer
 * waits for the clock, so a handler calls the outside one at a time. Nothing of it sleeps or polls by the wall clock.
 *
 * One at a time in a process, since services read their settings from its environment. Services that are other commands
 * run as processes of their own; their code knows no virtual time.
 */
export class Story implements AsyncDisposable {
  readonly clock: ManualClock;
  /** The console, over real HTTP. */
  readonly url: string;
  /** The broker, over real HTTP: Pub/Sub's v1. */
  readonly brokerUrl: string;
  readonly system: string;
  /** What the system logged, oldest first. */
  readonly log: readonly LogLine[];
  readonly #platform: StoryPlatform;
  readonly #sandbox: Sandbox | undefined;
  readonly #front: Front;
  readonly #token: string;
  readonly #end: () => Promise<void>;
  #taps = 0;

  private constructor(parts: {
    clock: ManualClock;
    system: string;
    log: LogLine[];
    platform: StoryPlatform;
    sandbox: Sandbox | undefined;
    front: Front;
    token: string;
    end: () => Promise<void>;
  }) {
    this.clock = parts.clock;
    this.url = parts.front.url;
    this.brokerUrl = `http://127.0.0.1:${parts.platform.brokerPort}`;
    this.system = parts.system;
    this.log = parts.log;
    this.#platform = parts.platform;
    this.#sandbox = parts.sandbox;
    this.#front = parts.front;
    this.#token = parts.token;
    this.#end = parts.end;
  }

  static async start(options: StoryOptions): Promise<Story> {
    const undo: (() => unknown)[] = [];
    const end = async () => {
      for (const each of undo.splice(0).reverse()) await each();
    };
    try {
      return await Story.#start(options, undo, end);
    } catch (error) {
      await end();
      throw error;
    }
  }

  static async #start(
    { systemFile, environment = {}, at, seed, retention }: StoryOptions,
    undo: (() => unknown)[],
    end: () => Promise<void>,
  ): Promise<Story> {
    const clock = new ManualClock(at);
    const random = new SeededRandom(seed);
    const log: LogLine[] = [];
    const folder = mkdtempSync(join(tmpdir(), 'dormouse-story-'));
    undo.push(() => rmSync(folder, { recursive: true }));
    const before = { ...process.env };
    undo.push(() => {
      for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
      Object.assign(process.env, before);
    });
    const directory = DataDirectory.open(folder);
    undo.push(() => directory.close());
    const manifest = await describeSystem(systemFile, directory.join('build'));
    const front = await Front.listen();
    undo.push(() => front.close());
    const sandbox = manifest.sandbox
      ? await (await moduleOf<SandboxModule>(manifest.sandbox)).startSandbox({
          directory: folder,
          webhook: { url: `${front.url}/api/responses`, secret: directory.secret('webhook-secret', 'whsec_') },
          clock,
        })
      : undefined;
    let closed: Promise<void> | undefined;
    const closeSandbox = () => (closed ??= sandbox?.close());
    undo.push(closeSandbox);
    const settings = { ...sandbox?.environment, ...environment };
    // Commands run in this process, as services do.
    Object.assign(process.env, settings);
    const options = { manifest, clock, random, log: collector(log) };
    const firestore = firestoreOf(process.env);
    if (firestore && retention)
      throw new Error('a story on Google’s engines has no retention: Firestore removes by TTL');
    const platform = firestore
      ? await startGoogleStoryPlatform(options, firestore)
      : await startLocalStoryPlatform({
          ...options,
          directory,
          environment: settings,
          ...(retention && { retention }),
        });
    undo.push(() => platform.stop());
    // First of all: whoever hangs there comes to his end, and the platform waits for its handlers.
    undo.push(closeSandbox);
    const tokens = new Tokens(platform.ports);
    const { text: token } = await tokens.create({ tenant: everyTenant, role: 'admin' }, 'story');
    const watchers = new Set<{ readonly workflow: Ref; readonly onChange: () => void }>();
    platform.onCommitted = ({ workflows }) => {
      for (const { workflow, onChange } of watchers) if (workflows.includes(workflow)) onChange();
    };
    const app = createConsole({
      ...platform.ports,
      system: manifest.system,
      log: collector(log),
      commands: await loadCommands(manifest),
      tokens,
      onRevoked: () => {},
      answersTo: () => true,
      stopping: new AbortController().signal,
      services: () => platform.services(),
      topics: () => platform.topics(),
      pause: (subscription, paused) => platform.pause(subscription, paused),
      undeclared: platform.undeclared,
      erasure: platform.erasure,
      watch: (workflow, onChange) => {
        const watcher = { workflow, onChange };
        watchers.add(watcher);
        return () => watchers.delete(watcher);
      },
      mounts: new Map<string, Mount>(
        sandbox ? [['/sandbox', { access: 'anyone', handle: (request) => sandbox.handle(request) }]] : [],
      ),
    });
    front.serve(async (request) => app.fetch(request));
    return new Story({ clock, system: manifest.system, log, platform, sandbox, front, token, end });
  }

  get now(): number {
    return this.clock.now();
  }

  /** A request to the console, with the administrator's token unless another is given. What follows of it is not awaited. */
  fetch(path: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
    const given = new Headers(headers);
    if (!given.has('authorization')) given.set('authorization', `Bearer ${this.#token}`);
    return this.#front.handle(new Request(this.url + path, { ...init, headers: given }));
  }

  /** @throws where the answer is no success, with its problem */
  async get<T>(path: string): Promise<T> {
    const response = await this.fetch(path);
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Posts JSON and settles. @throws where the answer is no success, with its problem */
  async post<T>(path: string, body: unknown): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    const response = await this.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`POST ${path} answered ${response.status}: ${await response.text()}`);
    await this.settle();
    return (await response.json()) as T;
  }

  /** The journey of a workflow, as `dormouse trace` has it. */
  trace(workflowId: string): Promise<Trace> {
    return this.get(`/api/workflows/${workflowId}/trace`);
  }

  /** From now on, what is published to a topic, as any client of Pub/Sub reads it: each call answers what came since. */
  async tap(topic: string): Promise<() => Promise<WireMessage[]>> {
    const subscription = `projects/${project}/subscriptions/tap-${topic}-${++this.#taps}`;
    await this.#broker('PUT', subscription, { topic: `projects/${project}/topics/${topic}` });
    return async () => {
      const pulled = await this.#broker<Pulled>('POST', `${subscription}:pull`, {
        maxMessages: 1000,
        returnImmediately: true,
      });
      const received = pulled.receivedMessages ?? [];
      const ackIds = received.map(({ ackId }) => ackId);
      if (ackIds.length > 0) await this.#broker('POST', `${subscription}:acknowledge`, { ackIds });
      await this.settle();
      return received.map(({ message: { data, attributes } }) => ({ data, attributes }));
    };
  }

  /** Publishes a message as it is, for instance one that was tapped: the wire may bring anything twice. Settles. */
  async publish(topic: string, message: WireMessage): Promise<void> {
    await this.#broker('POST', `projects/${project}/topics/${topic}:publish`, { messages: [message] });
    await this.settle();
  }

  async #broker<T>(method: string, path: string, body: unknown): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${this.brokerUrl}/v1/${path}`, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Lets time pass: to each moment at which something is due, in turn, settling at each. */
  async advance(duration: Duration): Promise<void> {
    await this.advanceTo(this.now + durationMs(duration, 'advance'));
  }

  /** The same up to a moment, epoch milliseconds. */
  async advanceTo(time: number): Promise<void> {
    await this.settle();
    for (let next = this.clock.next; next !== undefined && next <= time; next = this.clock.next) {
      this.clock.advance(next - this.now);
      await this.settle();
    }
    this.clock.advance(Math.max(0, time - this.now));
    await this.settle();
  }

  /** Waits until nothing moves by itself any more. @throws after 90 real seconds, with what still moves */
  async settle(): Promise<void> {
    const startedAt = performance.now();
    for (let looks = 0; ; looks++) {
      // What takes longer is on its way in another process, which has more of the processor while nobody looks.
      await (looks < 20 ? new Promise(setImmediate) : new Promise((resolve) => setTimeout(resolve, 1)));
      if (this.#isSettled()) {
        // Set for now, or for a time that has passed.
        if ((this.clock.next ?? Number.POSITIVE_INFINITY) > this.now) return;
        this.clock.advance(0);
      }
      if (performance.now() - startedAt > settleBoundMs) {
        const moving = { ...this.#platform.underWay(), requests: this.#front.inFlight, ...this.#sandbox?.underWay() };
        throw new Error(`the story does not settle: ${JSON.stringify(moving)}; its log: ${JSON.stringify(this.log)}`);
      }
    }
  }

  #isSettled(): boolean {
    const { deliveries, waking, committing, telling, firingTimers } = this.#platform.underWay();
    const { answering, holding } = this.#sandbox?.underWay() ?? { answering: 0, holding: 0 };
    const moving = waking > 0 || committing || telling || firingTimers || answering > 0 || this.#front.inFlight > 0;
    // Equal, not fewer: a caller who gave up has yet to be seen leaving.
    return !moving && deliveries === holding;
  }

  /** Stops everything, and leaves nothing behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

/**
 * Where the Firestore emulator is, for stories on Google's engines: with `DORMOUSE_STORIES=gcp`; undefined for stories on one machine.
 */
function firestoreOf({ DORMOUSE_STORIES: on = 'local', FIRESTORE_EMULATOR_HOST: host }: NodeJS.ProcessEnv) {
  if (on === 'local') return undefined;
  if (on !== 'gcp') throw new Error(`DORMOUSE_STORIES must be "local" or "gcp", got "${on}"`);
  if (!host) throw new Error('with DORMOUSE_STORIES=gcp set FIRESTORE_EMULATOR_HOST to the host:port of an emulator');
  return host;
}

async function startLocalStoryPlatform(
  options: StoryPlatformOptions & Pick<LocalPlatformOptions, 'directory' | 'environment' | 'retention'>,
): Promise<StoryPlatform> {
  return LocalPlatform.start({
    ...options,
    idleMs: 10_000,
    inline: new Set(options.manifest.services.map(({ name }) => name)),
    onFailure: (error) => {
      throw error;
    },
    // What survives a crash is for other tests; a story is told on one machine that stays up.
    sync: async () => {},
  });
}

async function moduleOf<T>(file: string): Promise<T> {
  return (await import(pathToFileURL(file).href)) as T;
}

function collector(lines: LogLine[]): Logger {
  const at =
    (level: keyof Logger) =>
    (moment: string, facts: Record<string, unknown> = {}) =>
      void lines.push({ level, moment, facts });
  return { info: at('info'), warn: at('warn'), error: at('error') };
}
