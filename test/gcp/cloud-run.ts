import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, createServer as createNetServer } from 'node:net';
import { createInterface } from 'node:readline';
import { startImage } from '../../deploy/image-process.ts';

export interface CloudRunService {
  /** Of its image. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly concurrency: number;
  readonly maxInstances: number;
  readonly invoker: 'anyone' | 'caller';
  /** Who is let in where it is not anyone. Default: as all. */
  readonly admit?: CloudRunOptions['admit'];
}

export interface CloudRunOptions {
  /** How long an instance without a request stays. */
  readonly idleMs: number;
  /** The Authorization header that a push to this URL would have, for a broker that sends none. */
  readonly authorize?: (url: string) => Promise<string>;
  /** Lets in only who has a good token for this URL. What is pushed then arrives without its signature, as Google does it. */
  readonly admit?: (url: string, token: string | undefined) => Promise<void>;
  /** What instances write, line by line. */
  readonly said?: (service: string, line: string) => void;
}

/** How an instance ended. */
export interface Ending {
  readonly service: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** By what it was asked to end; undefined where nobody did. */
  readonly asked: NodeJS.Signals | undefined;
  /** One that starts can hold nothing. */
  readonly wasListening: boolean;
  readonly afterMs: number;
  /** Its last line. */
  readonly saidLast: string;
}

/** Source: cloud.google.com/run/docs/container-contract: SIGTERM, and ten seconds later SIGKILL. */
const graceMs = 10_000;
const startWithinMs = 30_000;
const failedStartMs = 500;
/** A request waits no longer for an instance. */
const queueMs = 60_000;
/** Source: cloud.google.com/run/pricing. */
const billedByMs = 100;

/**
 * Stands in for Cloud Run: listens at the URL of each service, starts an instance from the folder of its image for the first
 * request, more of them while all are taken, up to the most; ends those that are idle by SIGTERM, and kills.
 */
export class CloudRun implements AsyncDisposable {
  readonly endings: Ending[] = [];
  readonly #options: CloudRunOptions;
  readonly #services = new Map<string, Deployment>();

  constructor(options: CloudRunOptions) {
    this.#options = options;
  }

  /** The URL at which a service will be, which its environment names. */
  async reserve(name: string): Promise<string> {
    const deployment = await Deployment.listen(name, this.#options, this.endings);
    this.#services.set(name, deployment);
    return deployment.url;
  }

  deploy(name: string, service: CloudRunService): void {
    this.#services.get(name)!.service = service;
  }

  /** From now on a service lets in only who has a token that is good by this check. */
  restrict(name: string, admit: NonNullable<CloudRunOptions['admit']>): void {
    const deployment = this.#services.get(name)!;
    deployment.service = { ...deployment.service!, invoker: 'caller', admit };
  }

  urlOf(name: string): string {
    return this.#services.get(name)!.url;
  }

  /** Those that live, of one service or of all. */
  instances(name?: string): readonly Instance[] {
    return [...this.#services.values()].flatMap((each) =>
      name === undefined || each.name === name ? [...each.instances] : [],
    );
  }

  /** Asks those that live to stop, of one service or of all, and waits until they have. */
  async stopInstances(name?: string): Promise<void> {
    const living = this.instances(name);
    for (const instance of living) instance.end('SIGTERM');
    await Promise.all(living.map(({ exited }) => exited));
  }

  /** Requests that are not answered. */
  get underWay(): number {
    return [...this.#services.values()].reduce((sum, { underWay }) => sum + underWay, 0);
  }

  /** Wakes since the beginning. */
  get wakes(): number {
    return [...this.#services.values()].reduce((sum, { wakes }) => sum + wakes, 0);
  }

  /** Requests since the beginning that an instance has got. */
  get requests(): number {
    return [...this.#services.values()].reduce((sum, { requests }) => sum + requests, 0);
  }

  /** What is billed of all instances since the beginning, in milliseconds. */
  get billedMs(): number {
    return [...this.#services.values()].reduce((sum, { billedMs }) => sum + billedMs, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#services.values()].map((each) => each.close()));
  }
}

/** One process of a service. */
export class Instance {
  readonly service: string;
  readonly process: ChildProcess;
  readonly port: number;
  readonly exited: Promise<unknown>;
  inFlight = 0;
  isListening = false;
  /** From its start until it listened. */
  startMs = 0;
  /** From its start until it had answered a request. */
  answeredMs: number | undefined;
  readonly #startedAt = performance.now();
  asked: NodeJS.Signals | undefined;
  saidLast = '';
  #askedAt = 0;
  /** What was billed up to when it last had nothing to do. */
  #billedMs = 0;
  /** Since when it starts, has requests or stops. */
  #billedFrom: number | undefined = performance.now();
  #cancelIdle: ReturnType<typeof setTimeout> | undefined;

  constructor(service: string, process: ChildProcess, port: number, endings: Ending[]) {
    this.service = service;
    this.process = process;
    this.port = port;
    this.exited = once(process, 'exit').then(([code, signal]) => {
      clearTimeout(this.#cancelIdle);
      this.#settleBill();
      const afterMs = this.asked ? performance.now() - this.#askedAt : 0;
      endings.push({
        service,
        code,
        signal,
        asked: this.asked,
        wasListening: this.isListening,
        afterMs,
        saidLast: this.saidLast,
      });
    });
  }

  /**
   * By the request: while it starts, while it has one or more, while it stops; each such time rounded up.
   * Source: cloud.google.com/run/docs/configuring/billing-settings.
   */
  get billedMs(): number {
    const open = this.#billedFrom === undefined ? 0 : performance.now() - this.#billedFrom;
    return this.#billedMs + Math.ceil(open / billedByMs) * billedByMs;
  }

  #settleBill(): void {
    this.#billedMs = this.billedMs;
    this.#billedFrom = undefined;
  }

  end(signal: NodeJS.Signals): void {
    clearTimeout(this.#cancelIdle);
    this.#billedFrom ??= performance.now();
    this.asked = signal;
    this.#askedAt = performance.now();
    this.process.kill(signal);
    if (signal === 'SIGKILL') return;
    const late = setTimeout(() => this.process.kill('SIGKILL'), graceMs);
    void this.exited.then(() => clearTimeout(late));
  }

  idleFrom(idleMs: number): void {
    clearTimeout(this.#cancelIdle);
    if (this.inFlight > 0 || this.asked) return;
    this.#settleBill();
    this.#cancelIdle = setTimeout(() => this.end('SIGTERM'), idleMs);
  }

  free(): void {
    this.inFlight--;
    this.answeredMs ??= performance.now() - this.#startedAt;
  }

  busy(): void {
    this.inFlight++;
    this.#billedFrom ??= performance.now();
    clearTimeout(this.#cancelIdle);
  }
}

class Deployment {
  readonly name: string;
  readonly instances = new Set<Instance>();
  service: CloudRunService | undefined;
  underWay = 0;
  wakes = 0;
  requests = 0;
  #billedMs = 0;
  readonly #server: Server;
  readonly #options: CloudRunOptions;
  readonly #endings: Ending[];
  readonly #waiting: (() => void)[] = [];
  #isStarting = false;
  #closed = false;

  private constructor(name: string, server: Server, options: CloudRunOptions, endings: Ending[]) {
    this.name = name;
    this.#server = server;
    this.#options = options;
    this.#endings = endings;
    server.on('request', (incoming, outgoing) => void this.#handle(incoming, outgoing));
  }

  static async listen(name: string, options: CloudRunOptions, endings: Ending[]): Promise<Deployment> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Deployment(name, server, options, endings);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get billedMs(): number {
    return [...this.instances].reduce((sum, each) => sum + each.billedMs, this.#billedMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#server.close();
    this.#server.closeAllConnections();
    for (const instance of this.instances) instance.end('SIGKILL');
    await Promise.all([...this.instances].map(({ exited }) => exited));
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    this.underWay++;
    outgoing.on('close', () => this.underWay--);
    const chunks = await incoming.toArray().catch(() => undefined);
    const admitted = chunks && (await this.#admitted(incoming));
    if (!admitted || 'refused' in admitted) {
      const page = { 'content-type': 'text/html; charset=UTF-8' };
      if (!outgoing.destroyed) outgoing.writeHead(admitted?.refused ?? 400, page).end('<title>Error</title>');
      return;
    }
    const { headers } = admitted;
    const instance = await this.#take();
    if (!instance) {
      if (!outgoing.destroyed) outgoing.writeHead(429).end('no instance was available');
      return;
    }
    const { method, url: path } = incoming;
    const forwarded = request({ host: '127.0.0.1', port: instance.port, method, path, headers, agent: false });
    let left = true;
    const leave = () => {
      if (left) this.#free(instance);
      left = false;
    };
    forwarded.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
      answer.on('close', leave);
      // It died in the middle of its answer.
      answer.on('error', () => outgoing.destroy());
    });
    forwarded.on('error', () => {
      leave();
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(503).end('the instance is gone');
    });
    outgoing.on('close', () => forwarded.destroy());
    forwarded.end(Buffer.concat(chunks));
  }

  /**
   * Its headers as the instance gets them, or the status it is refused with. Who has a use of his own for Authorization says who he is in
   * X-Serverless-Authorization, which alone counts then.
   * Source: cloud.google.com/run/docs/authenticating/service-to-service.
   */
  async #admitted({
    url,
    headers,
  }: IncomingMessage): Promise<{ readonly headers: OutgoingHttpHeaders } | { readonly refused: number }> {
    const { authorize } = this.#options;
    const { invoker, admit = this.#options.admit } = this.service ?? {};
    const isPush = url === '/pubsub-push' && headers.authorization === undefined;
    const authorization = isPush ? await authorize?.(this.url) : headers.authorization;
    const all: OutgoingHttpHeaders = { ...headers, ...(authorization !== undefined && { authorization }) };
    if (invoker !== 'caller' || !admit) return { headers: all };
    const shown = 'x-serverless-authorization' in headers ? 'x-serverless-authorization' : 'authorization';
    const token = /^Bearer (.+)$/.exec(String(all[shown]))?.[1];
    if (token === undefined) return { refused: 403 };
    try {
      await admit(this.url, token);
    } catch {
      return { refused: 401 };
    }
    return { headers: { ...all, [shown]: `Bearer ${token.replace(/\.[^.]*$/, '.SIGNATURE_REMOVED_BY_GOOGLE')}` } };
  }

  async #take(): Promise<Instance | undefined> {
    const giveUpAt = performance.now() + queueMs;
    while (!this.#closed && this.service && performance.now() < giveUpAt) {
      const free = [...this.instances]
        .filter(({ isListening, asked, inFlight }) => isListening && !asked && inFlight < this.service!.concurrency)
        .sort((one, other) => one.inFlight - other.inFlight)[0];
      if (free) {
        free.busy();
        this.requests++;
        return free;
      }
      const living = [...this.instances].filter(({ asked }) => !asked).length;
      if (!this.#isStarting && living < this.service.maxInstances) void this.#start(this.service);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return undefined;
  }

  #free(instance: Instance): void {
    instance.free();
    instance.idleFrom(this.#options.idleMs);
    this.#look();
  }

  /** Whoever waits looks again. */
  #look(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** One at a time. */
  async #start({ folder, environment }: CloudRunService): Promise<void> {
    this.#isStarting = true;
    this.wakes++;
    const port = await freePort();
    const process = startImage(folder, { ...environment, PORT: String(port) });
    const instance = new Instance(this.name, process, port, this.#endings);
    this.instances.add(instance);
    for (const stream of [process.stdout!, process.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        instance.saidLast = line;
        this.#options.said?.(this.name, line);
      });
    }
    void instance.exited.then(() => {
      this.instances.delete(instance);
      this.#billedMs += instance.billedMs;
      this.#look();
    });
    const startedAt = performance.now();
    const giveUpAt = startedAt + startWithinMs;
    while (this.instances.has(instance) && !(await accepts(port))) {
      if (performance.now() > giveUpAt) instance.end('SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // One that ends before it listens is not made up for at once.
    if (!this.instances.has(instance)) await new Promise((resolve) => setTimeout(resolve, failedStartMs));
    this.#isStarting = false;
    instance.startMs = performance.now() - startedAt;
    instance.isListening = true;
    instance.idleFrom(this.#options.idleMs);
    this.#look();
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const answer = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.on('connect', () => answer(true));
    socket.on('error', () => answer(false));
  });
}

/**
 * Below those that Linux gives to connections and to who asks for any: one of these could be taken by somebody else before the instance
 * listens, who would then be taken for it.
 */
async function freePort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 12_000);
  const server = createNetServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return freePort();
  }
  server.close();
  await once(server, 'close');
  return port;
}
