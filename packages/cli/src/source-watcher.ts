import { basename, join, relative } from 'node:path';
import type { Sources } from '@dormouse/local';
import { type FSWatcher, watch } from 'chokidar';

/** A save may be several events: a temporary file, its renaming, a formatter's second write. */
const quietMs = 25;

/**
 * Tells which files have changed, in batches: those below a folder (without packages, hidden folders and the data directory),
 * and others that were added. By chokidar: Node's own recursive watching walks into packages, and loses files that an
 * editor saves by renaming.
 */
export class SourceWatcher {
  readonly ready: Promise<void>;
  readonly #watcher: FSWatcher;
  readonly #folder: string;
  readonly #changed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(folder: string, dataFolder: string, onChange: (paths: readonly string[]) => void) {
    this.#folder = folder;
    const isIgnored = (path: string) =>
      path !== folder && (basename(path) === 'node_modules' || basename(path).startsWith('.') || path === dataFolder);
    this.#watcher = watch(folder, { ignored: isIgnored, ignoreInitial: true, followSymlinks: false });
    this.ready = new Promise((resolve) => this.#watcher.once('ready', resolve));
    this.#watcher.on('all', (_event, path) => {
      this.#changed.add(join(path));
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        const paths = [...this.#changed];
        this.#changed.clear();
        onChange(paths);
      }, quietMs);
    });
  }

  /** Watches also what lies elsewhere. */
  add({ system, host, services }: Sources): void {
    const all = new Set([...system, ...host, ...Object.values(services).flat()]);
    this.#watcher.add([...all].filter((path) => relative(this.#folder, path).startsWith('..')));
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#watcher.close();
  }
}
