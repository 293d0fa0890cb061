import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { createConsole } from '@dormouse/console';
import {
  type Command,
  causeOf,
  type Ref,
  type Sandbox,
  type SandboxModule,
  systemClock,
  systemRandom,
} from '@dormouse/core';
import {
  bundleSystem,
  DataDirectory,
  hostLog,
  LocalPlatform,
  LogFile,
  type LogRecord,
  type Manifest,
} from '@dormouse/local';
import { type ServerType, serve } from '@hono/node-server';
import { UsageError } from './usage-error.ts';

/** The log of the host and all services, in the data directory. */
export const logName = 'host.log';

export interface HostOptions {
  readonly systemFile: string;
  readonly dataFolder: string;
  /** Of the console. 0: a free one. */
  readonly port: number;
  readonly idleMs: number;
  readonly inline: 'all' | readonly string[];
  /** Is given each record of the log as it is written. */
  readonly tell?: (record: LogRecord) => void;
}

/** One running system: platform, console and sandbox in this process, services in theirs. */
export class Host {
  readonly url: string;
  readonly token: string;
  readonly isNew: boolean;
  readonly platform: LocalPlatform;
  readonly manifest: Manifest;
  readonly #stop: () => Promise<void>;

  private constructor(
    url: string,
    token: string,
    isNew: boolean,
    platform: LocalPlatform,
    manifest: Manifest,
    stop: () => Promise<void>,
  ) {
    this.url = url;
    this.token = token;
    this.isNew = isNew;
    this.platform = platform;
    this.manifest = manifest;
    this.#stop = stop;
  }

  /** @throws DataDirectoryError, UsageError */
  static async start(options: HostOptions): Promise<Host> {
    if (!existsSync(options.systemFile)) throw new UsageError(`there is no system file ${options.systemFile}`);
    const directory = DataDirectory.open(options.dataFolder);
    const undo: (() => unknown)[] = [() => directory.close()];
    const stop = async () => {
      for (const each of undo.splice(0).reverse()) await each();
    };
    try {
      return await Host.#start(options, directory, undo, stop);
    } catch (error) {
      await stop();
      throw error;
    }
  }

  static async #start(
    options: HostOptions,
    directory: DataDirectory,
    undo: (() => unknown)[],
    stop: () => Promise<void>,
  ): Promise<Host> {
    const logFile = new LogFile(directory.join(logName));
    const log = hostLog(logFile, options.tell);
    undo.push(() => {
      log.info('host.stopped');
      logFile.close();
    });
    // The port first: it is in the sandbox's webhook address, and a port in use should fail before anything is built.
    const front = await Front.listen(options.port);
    undo.push(() => front.close());
    const manifest = await bundleSystem(options.systemFile, directory.join('build', 'services'));

    const token = directory.adminToken();
    const sandbox =
      manifest.sandbox === undefined ? undefined : await startSandbox(manifest.sandbox, directory, front.url);
    if (sandbox) undo.push(() => sandbox.close());
    const inline = options.inline === 'all' ? manifest.services.map(({ name }) => name) : options.inline;
    const unknown = inline.find((name) => !manifest.services.some((service) => service.name === name));
    if (unknown)
      throw new UsageError(
        `--inline: there is no service "${unknown}"; there are ${manifest.services.map(({ name }) => name).join(', ')}`,
      );

    const environment = {
      ...sandbox?.environment,
      DORMOUSE_OWN_PORTS: [front.port, ...(sandbox?.ports ?? [])].join(','),
    };
    // Commands run in this process and find the same settings as the services.
    Object.assign(process.env, environment);
    const platform = await LocalPlatform.start({
      directory,
      manifest,
      clock: systemClock,
      random: systemRandom,
      log,
      idleMs: options.idleMs,
      inline: new Set(inline),
      environment,
      onFailure: (error) => {
        log.error('host.failed', { cause: causeOf(error) });
        process.stderr.write(`dormouse: ${causeOf(error)}\n`);
        process.exit(1);
      },
    });
    undo.push(() => platform.stop());
    // When it stops, nothing new comes in while the rest drains.
    undo.push(() => front.close());

    const watchers = new Map<Ref, Set<() => void>>();
    platform.onCommitted = ({ workflows }) => {
      for (const workflow of workflows) for (const onChange of watchers.get(workflow) ?? []) onChange();
    };
    const commands = manifest.commands
      ? ((await import(pathToFileURL(manifest.commands).href)).default as Command[])
      : [];
    const app = createConsole({
      ...platform.ports,
      system: manifest.system,
      log,
      commands,
      adminToken: token,
      services: () => platform.services(),
      topics: () => platform.topics(),
      pause: (subscription, paused) => platform.pause(subscription, paused),
      watch: (workflow, onChange) => watch(watchers, workflow, onChange),
      mounts: new Map(sandbox ? [['/sandbox', (request) => sandbox.handle(request)]] : []),
    });
    front.serve(app.fetch as (request: Request) => Promise<Response>);
    const isNew = directory.isNew;
    directory.announce({ pid: process.pid, port: front.port, token });
    log.info('host.started', { system: manifest.system, port: front.port, pid: process.pid });
    return new Host(front.url, token, isNew, platform, manifest, stop);
  }

  /** Drains and stops everything, the services first. */
  stop(): Promise<void> {
    return this.#stop();
  }
}

/** The console's port: taken at once, answering 503 until there is something to serve. */
class Front {
  readonly port: number;
  readonly url: string;
  readonly #server: ServerType;
  readonly #handler: { fetch: (request: Request) => Promise<Response> };

  private constructor(server: ServerType, handler: { fetch: (request: Request) => Promise<Response> }) {
    this.#server = server;
    this.#handler = handler;
    this.port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  static listen(port: number): Promise<Front> {
    const handler = { fetch: async (_request: Request) => new Response('starting', { status: 503 }) };
    return new Promise((resolve, reject) => {
      const server = serve({ fetch: (request) => handler.fetch(request), hostname: '127.0.0.1', port }, () =>
        resolve(new Front(server, handler)),
      );
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(
          error.code === 'EADDRINUSE'
            ? new UsageError(`port ${port} is in use; use --port N with another, or leave it out for a free one`)
            : error,
        );
      });
    });
  }

  serve(fetch: (request: Request) => Promise<Response>): void {
    this.#handler.fetch = fetch;
  }

  /** Closing again does nothing. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    if ('closeAllConnections' in this.#server) this.#server.closeAllConnections();
    await closed;
  }
}

async function startSandbox(file: string, directory: DataDirectory, url: string): Promise<Sandbox> {
  const { startSandbox } = (await import(pathToFileURL(file).href)) as SandboxModule;
  return startSandbox({
    directory: directory.path,
    webhook: { url: `${url}/api/responses`, secret: directory.secret('webhook-secret', 'whsec_') },
    clock: systemClock,
  });
}

function watch(watchers: Map<Ref, Set<() => void>>, workflow: Ref, onChange: () => void): () => void {
  const set = watchers.get(workflow) ?? new Set();
  watchers.set(workflow, set.add(onChange));
  return () => {
    set.delete(onChange);
    if (set.size === 0) watchers.delete(workflow);
  };
}
