import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { createConsole, type Mount, Tokens } from '@dormouse/console';
import {
  type Actor,
  causeOf,
  everyTenant,
  type Ref,
  type Sandbox,
  type SandboxModule,
  systemClock,
  systemRandom,
} from '@dormouse/core';
import {
  Bundler,
  DataDirectory,
  hostLog,
  LocalPlatform,
  LogFile,
  type LogRecord,
  loadCommands,
  type Manifest,
  type RetentionSettings,
} from '@dormouse/local';
import { AdminToken } from './admin-token.ts';
import { Front } from './front.ts';
import { Listening } from './listening.ts';
import { UsageError } from './usage-error.ts';

/** Where the bundles of a start lie, in the data directory. */
export const bundlesIn = ['build', 'services'] as const;

/** The log of the host and all services, in the data directory. */
export const logName = 'host.log';

export interface HostOptions {
  readonly systemFile: string;
  readonly dataFolder: string;
  /** Of the console. 0: a free one. */
  readonly port: number;
  /** Where the console listens. Default: on loopback only. */
  readonly listening?: Listening;
  readonly idleMs: number;
  /** Default 0. */
  readonly spare?: number;
  readonly retention: RetentionSettings;
  readonly inline: 'all' | readonly string[];
  /** Its sources as they were bundled; otherwise it bundles them. */
  readonly manifest?: Manifest;
  /** Is given each record of the log as it is written. */
  readonly tell?: (record: LogRecord) => void;
}

/** One running system: platform, console and sandbox in this process, services in theirs. */
export class Host {
  readonly url: string;
  /** The first admin token; undefined once it is revoked. */
  readonly token: string | undefined;
  readonly isNew: boolean;
  readonly platform: LocalPlatform;
  readonly manifest: Manifest;
  readonly #stop: () => Promise<void>;

  private constructor(
    url: string,
    token: string | undefined,
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
    const { listening = new Listening() } = options;
    const front = await Front.listen(options.port, listening);
    undo.push(() => front.close());
    const manifest = options.manifest ?? (await new Bundler(options.systemFile, directory.join(...bundlesIn)).bundle());

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
    // The user's own, for the commands that ask a host: no business of the services.
    delete process.env.DORMOUSE_TOKEN;
    delete process.env.DORMOUSE_IDENTITY_TOKEN;
    // Commands run in this process and find the same settings as the services.
    Object.assign(process.env, environment);
    let tokens: Tokens | undefined;
    const platform = await LocalPlatform.start({
      directory,
      manifest,
      clock: systemClock,
      random: systemRandom,
      log,
      idleMs: options.idleMs,
      spare: options.spare,
      retention: options.retention,
      inline: new Set(inline),
      environment,
      ...(listening.isOpen && { brokerAdmits: async (token) => houseOf(await tokens?.authenticate(token)) }),
      onFailure: (error) => {
        log.error('host.failed', { cause: causeOf(error) });
        process.stderr.write(`dormouse: ${causeOf(error)}\n`);
        process.exit(1);
      },
    });
    undo.push(() => platform.stop());
    const stopping = new AbortController();
    // When it stops, nothing new comes in while the rest drains.
    undo.push(() => {
      stopping.abort();
      return front.drain();
    });
    tokens = new Tokens(platform.ports);
    const admin = await AdminToken.open(directory, tokens);

    const watchers = new Map<Ref, Set<() => void>>();
    platform.onCommitted = ({ workflows }) => {
      for (const workflow of workflows) for (const onChange of watchers.get(workflow) ?? []) onChange();
    };
    const commands = await loadCommands(manifest);
    const app = createConsole({
      ...platform.ports,
      system: manifest.system,
      log,
      commands,
      tokens,
      onRevoked: (id) => {
        if (admin.onRevoked(id)) announce();
      },
      answersTo: (name) => listening.answersTo(name),
      stopping: stopping.signal,
      services: () => platform.services(),
      topics: () => platform.topics(),
      pause: (subscription, paused) => platform.pause(subscription, paused),
      undeclared: platform.undeclared,
      erasure: platform.erasure,
      watch: (workflow, onChange) => watch(watchers, workflow, onChange),
      // It shows the mails to clients, and what fails: beyond loopback to the house only.
      mounts: new Map<string, Mount>(
        sandbox
          ? [
              [
                '/sandbox',
                { access: listening.isOpen ? 'house' : 'anyone', handle: (request) => sandbox.handle(request) },
              ],
            ]
          : [],
      ),
    });
    const { port, url } = front;
    const brokerUrl = `http://127.0.0.1:${platform.brokerPort}`;
    const announce = () => directory.announce({ pid: process.pid, port, url, brokerUrl, token: admin.text });
    front.serve(app.fetch as (request: Request) => Promise<Response>);
    const isNew = directory.isNew;
    announce();
    log.info('host.started', { system: manifest.system, port: front.port, pid: process.pid });
    return new Host(url, admin.text, isNew, platform, manifest, stop);
  }

  /** Drains and stops everything, the services first. */
  stop(): Promise<void> {
    return this.#stop();
  }
}

function houseOf(actor: Actor | { readonly refused: string } | undefined): boolean {
  return actor !== undefined && 'tenant' in actor && actor.tenant === everyTenant;
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
