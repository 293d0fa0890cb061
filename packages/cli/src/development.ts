import { rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { BundleError, Bundler, type Manifest, type Sources, sourcesOf } from '@dormouse/local';
import type { Options } from './command-line.ts';
import { DevelopmentHost } from './development-host.ts';
import { bundlesIn, type HostOptions } from './host.ts';
import { paint, span, stamp } from './paint.ts';
import { hostOptionsOf, userFolder } from './settings.ts';
import { SourceWatcher } from './source-watcher.ts';
import { TypeChecker } from './type-checker.ts';

export interface DevelopmentOptions {
  /** As the user typed them. */
  readonly file: string | undefined;
  readonly options: Options;
  readonly say: (text: string) => void;
}

/** Bundles are kept this many builds long: an instance of an older one may yet import a chunk of it. */
const buildsKept = 4;

/** After a build that is served its services wake: the next build is prepared when they have. */
const prepareAfterMs = 1_000;

/**
 * A system under development. Its host runs in a process of its own; here are the watcher, the bundler and the type checker.
 *
 *   a source changes --> services made of it are held: what runs finishes and goes, messages wait
 *                    --> all is bundled anew, beside what is served, by a process that has read the sources before
 *                          does not build: told, and they wait on, until the next change
 *                          builds: they are renewed, and the next message wakes the new code;
 *                                  where the host itself is made of it (commands, sandbox, what the system declares), it restarts
 *
 * So from the moment a change is seen, no message meets the old code.
 */
export class Development {
  readonly #typed: DevelopmentOptions;
  readonly #host: HostOptions;
  readonly #watcher: SourceWatcher;
  readonly #types: TypeChecker | undefined;
  #running: DevelopmentHost | undefined;
  #manifest: Manifest | undefined;
  #sources: Sources | undefined;
  /** Since the last build that was served. */
  readonly #changed = new Set<string>();
  #isBroken = false;
  #isDirty = false;
  /** One thing at a time: the first start, then what changes ask for. */
  #working: Promise<void> = Promise.resolve();
  #bundling = new AbortController();
  /** Of the last build that was served. */
  #folderBefore: string | undefined;
  /** What makes the next build. */
  #prepared: Bundler | undefined;
  #preparing: NodeJS.Timeout | undefined;
  /** That were served. One that was not is written over by the next. */
  #builds = 0;
  #port: number;
  #isStopped = false;

  /** @throws UsageError */
  constructor(typed: DevelopmentOptions) {
    this.#typed = typed;
    this.#host = hostOptionsOf(typed.file, typed.options);
    this.#port = this.#host.port;
    const { systemFile, dataFolder } = this.#host;
    this.#watcher = new SourceWatcher(dirname(systemFile), dataFolder, (paths) => this.#onChange(paths));
    this.#types = typed.options['no-types'] ? undefined : TypeChecker.of(systemFile, this.#folder('types'), typed.say);
  }

  /** @throws UsageError, DataDirectoryError */
  async start(): Promise<void> {
    await this.#watcher.ready;
    const starting = this.#startHost(undefined, !this.#typed.options['no-sample']).catch((error: Error) => {
      if (!(error instanceof BundleError)) throw error;
      this.#isBroken = true;
      this.#tell(paint('red', this.#short(error.message)));
      this.#tell('nothing runs yet; it is tried again with the next change');
    });
    this.#working = starting.catch(() => {});
    await starting;
    this.#types?.check();
    this.#prepare();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#bundling.abort();
    clearTimeout(this.#preparing);
    this.#prepared?.stop();
    this.#types?.stop();
    await Promise.all([this.#running?.stop(), this.#watcher.close(), this.#working]);
    await this.#running?.stop();
    rmSync(this.#folder(), { recursive: true, force: true });
  }

  #onChange(paths: readonly string[]): void {
    const ours = paths.filter((path) => this.#isOurs(path));
    if (ours.length === 0) {
      if (paths.some((path) => /\.[cm]?tsx?$/.test(path))) this.#types?.check();
      return;
    }
    for (const path of ours) this.#changed.add(path);
    this.#running?.hold(this.#affected());
    this.#isDirty = true;
    // It would bundle what is no more, or only half of what is.
    this.#bundling.abort();
    this.#working = this.#working
      .then(() => this.#work())
      .catch((error: Error) => this.#tell(paint('red', String(error.stack))));
  }

  /** Whatever does not build may need any file; what does is made of those it is made of. */
  #isOurs(path: string): boolean {
    if (this.#isBroken || !this.#sources) return /\.([cm]?[jt]sx?|json)$/.test(path);
    const { system, host, services } = this.#sources;
    return [system, host, ...Object.values(services)].some((files) => files.includes(path));
  }

  #affected(): string[] {
    return namesOf(this.#sources, this.#changed);
  }

  async #work(): Promise<void> {
    while (this.#isDirty && !this.#isStopped) {
      this.#isDirty = false;
      const startedAt = performance.now();
      const bundler = this.#takeBundler();
      let manifest: Manifest;
      try {
        this.#bundling = new AbortController();
        manifest = await bundler.bundle(this.#bundling.signal);
      } catch (error) {
        if (this.#bundling.signal.aborted) continue;
        if (!(error instanceof BundleError)) throw error;
        this.#onBroken(error.message);
        continue;
      }
      if (this.#bundling.signal.aborted) continue;
      this.#folderBefore = bundler.outputFolder;
      this.#builds++;
      await this.#serve(manifest, sourcesOf(bundler.outputFolder), startedAt);
    }
    this.#prepare();
  }

  #prepare(): void {
    clearTimeout(this.#preparing);
    if (this.#isStopped || this.#isDirty || this.#folderBefore === undefined) return;
    this.#preparing = setTimeout(() => {
      this.#prepared = this.#newBundler(this.#folderBefore);
    }, prepareAfterMs);
  }

  #takeBundler(): Bundler {
    clearTimeout(this.#preparing);
    const prepared = this.#prepared;
    this.#prepared = undefined;
    return prepared?.isRunning ? prepared : this.#newBundler(undefined);
  }

  #newBundler(folderBefore: string | undefined): Bundler {
    return new Bundler(this.#host.systemFile, this.#folder(String(this.#builds % buildsKept)), folderBefore);
  }

  #onBroken(message: string): void {
    this.#isBroken = true;
    const waiting = this.#affected();
    this.#running?.hold(waiting, { reason: 'its source does not build', output: message });
    this.#tell(paint('red', this.#short(message)));
    this.#tell(
      waiting.length > 0 ? `messages of ${waiting.join(', ')} wait until it builds` : 'what runs goes on as it was',
    );
  }

  async #serve(manifest: Manifest, sources: Sources, startedAt: number): Promise<void> {
    const before = this.#sources;
    this.#sources = sources;
    // Of what it was made of, and of what it is made of now.
    const names = [...new Set([...this.#affected(), ...namesOf(before, this.#changed)])];
    const files = [...this.#changed].map((path) => relative(userFolder(), path)).join(', ');
    const inline = this.#host.inline;
    const ofHost = new Set([
      ...sources.host,
      ...(before?.host ?? []),
      ...Object.entries(sources.services).flatMap(([name, made]) =>
        inline === 'all' || inline.includes(name) ? made : [],
      ),
    ]);
    const mustRestart =
      !this.#running?.isUp ||
      declarationOf(manifest) !== declarationOf(this.#manifest) ||
      [...this.#changed].some((path) => ofHost.has(path));
    this.#changed.clear();
    this.#isBroken = false;
    if (mustRestart) {
      this.#tell(`${files} changed; the host restarts`);
      await this.#running?.stop();
      if (!this.#isStopped)
        await this.#startHost(manifest, false).catch((error: Error) => this.#tell(paint('red', error.message)));
    } else {
      this.#manifest = manifest;
      // Also those that only the new build knows to be affected.
      this.#running!.hold(names);
      this.#running!.renew(manifest.services);
      this.#tell(
        `${files} changed; new code of ${names.join(', ') || 'nobody'} in ${span(performance.now() - startedAt)}`,
      );
    }
    this.#watcher.add(sources);
    this.#types?.check();
  }

  async #startHost(manifest: Manifest | undefined, withSample: boolean): Promise<void> {
    const { file, options } = this.#typed;
    const host = { file, options, port: this.#port, withSample, ...(manifest && { manifest }) };
    this.#running = await DevelopmentHost.start(host, (reason) =>
      this.#tell(paint('red', `the host is gone (${reason}); it starts again with the next change`)),
    );
    this.#manifest = this.#running.manifest;
    // The same address after a restart.
    this.#port = this.#running.port;
    if (!manifest) {
      this.#folderBefore = join(this.#host.dataFolder, ...bundlesIn);
      this.#sources = sourcesOf(this.#folderBefore);
      this.#watcher.add(this.#sources);
    }
  }

  #folder(...names: string[]): string {
    return join(this.#host.dataFolder, 'build', 'dev', ...names);
  }

  #tell(text: string): void {
    const at = paint('dim', stamp(Date.now()).slice(11));
    this.#typed.say(text.replace(/^/gm, `${at} `));
  }

  /** Paths as the user would type them. */
  #short(text: string): string {
    return text.replaceAll('file://', '').replaceAll(`${userFolder()}/`, '');
  }
}

function namesOf(sources: Sources | undefined, changed: ReadonlySet<string>): string[] {
  const made = Object.entries(sources?.services ?? {});
  return made.filter(([, files]) => files.some((file) => changed.has(file))).map(([name]) => name);
}

/** What a host must be started anew for, apart from its own code: all but where the bundles lie. */
function declarationOf(manifest: Manifest | undefined): string {
  return JSON.stringify(manifest, (key, value) =>
    (key === 'file' || key === 'spare') && String(value).endsWith('.mjs') ? undefined : value,
  );
}
