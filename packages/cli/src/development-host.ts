import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { BundleError, type Manifest, type ManifestService } from '@dormouse/local';
import type { Options } from './command-line.ts';
import { UsageError } from './usage-error.ts';

/** What `dormouse dev` says to the process of its host. */
export type ToHost =
  | ({ readonly kind: 'start' } & HostToStart)
  | { readonly kind: 'hold'; readonly names: readonly string[]; readonly failure?: HoldFailure }
  | { readonly kind: 'renew'; readonly services: readonly ManifestService[] };

/** What it says back: it runs, or why not. */
export type FromHost =
  | { readonly kind: 'up'; readonly port: number; readonly manifest: Manifest }
  | { readonly kind: 'refused'; readonly message: string; readonly doesNotBuild: boolean };

export interface HostToStart {
  /** As the user typed them. */
  readonly file: string | undefined;
  readonly options: Options;
  /** Of the console. */
  readonly port: number;
  /** The sources as they were bundled; otherwise the host bundles them. */
  readonly manifest?: Manifest;
  readonly withSample: boolean;
}

interface HoldFailure {
  readonly reason: string;
  readonly output: string;
}

const stopTimeoutMs = 10_000;

/** The process that the host of a system under development runs in. It ends when the channel to it closes. */
export class DevelopmentHost {
  readonly port: number;
  readonly manifest: Manifest;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #isStopping = false;
  isUp = true;

  private constructor(child: ChildProcess, up: FromHost & { kind: 'up' }, onGone: (reason: string) => void) {
    this.#child = child;
    this.port = up.port;
    this.manifest = up.manifest;
    this.#exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        this.isUp = false;
        if (!this.#isStopping) onGone(signal ?? `exit ${code}`);
        resolve();
      });
    });
  }

  /** @throws BundleError, UsageError */
  static async start(host: HostToStart, onGone: (reason: string) => void): Promise<DevelopmentHost> {
    const child = fork(join(import.meta.dirname, 'dev-host.ts'), {
      // Stacks name the sources. It costs a wake 4 ms, so `start` goes without.
      env: { ...process.env, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --enable-source-maps`.trim() },
    });
    const { promise, resolve, reject } = Promise.withResolvers<FromHost>();
    child.once('message', (message) => resolve(message as FromHost));
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new UsageError(`the host did not start (${signal ?? `exit ${code}`})`)),
    );
    send(child, { kind: 'start', ...host });
    const answer = await promise;
    if (answer.kind === 'up') return new DevelopmentHost(child, answer, onGone);
    throw answer.doesNotBuild ? new BundleError(answer.message) : new UsageError(answer.message);
  }

  hold(names: readonly string[], failure?: HoldFailure): void {
    if (names.length > 0 && this.isUp) send(this.#child, { kind: 'hold', names, ...(failure && { failure }) });
  }

  renew(services: readonly ManifestService[]): void {
    if (this.isUp) send(this.#child, { kind: 'renew', services });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(timer);
  }
}

/** A host that is going is told nothing more. */
function send(child: ChildProcess, message: ToHost): void {
  if (child.connected) child.send(message, () => {});
}
