import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { LockFile } from './lock-file.ts';

/** What a running host tells others about itself, in `host.json`, mode 0600. */
export interface HostFile {
  readonly pid: number;
  /** Of the console. */
  readonly port: number;
  /** Where this machine's processes reach it. */
  readonly url: string;
  /** Where its broker is. */
  readonly brokerUrl: string;
  /** The first admin token, until it is revoked. */
  readonly token?: string | undefined;
}

export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
  /** Another host holds it: it may be starting, running or stopping. */
  readonly inUse: boolean;

  constructor(message: string, options: ErrorOptions & { readonly inUse?: boolean } = {}) {
    super(message, options);
    this.inUse = options.inUse ?? false;
  }
}

/**
 * One folder that holds all a host keeps: `dormouse.db`, `files/`, `push-key.json`, and while it runs `host.json`.
 * Held by one host at a time: the lock is SQLite's on the file `lock`, so the kernel gives it back when a host dies.
 */
export class DataDirectory {
  readonly path: string;
  /** Whether this host is the first to use it. */
  readonly isNew: boolean;
  readonly #lock: LockFile;

  private constructor(path: string, isNew: boolean, lock: LockFile) {
    this.path = path;
    this.isNew = isNew;
    this.#lock = lock;
  }

  /** @throws DataDirectoryError where it cannot be written, or another host holds it */
  static open(folder: string): DataDirectory {
    const path = resolve(folder);
    try {
      makeFolder(path);
      accessSync(path, constants.W_OK | constants.X_OK);
    } catch (cause) {
      throw new DataDirectoryError(
        `the data directory ${path} cannot be written (${(cause as NodeJS.ErrnoException).code}); use --data DIR with one that can`,
        { cause },
      );
    }
    const isNew = !existsSync(join(path, 'dormouse.db'));
    // It holds personal data: for this user's eyes only, whatever the folder allows. SQLite gives its log the same mode.
    if (isNew) closeSync(openSync(join(path, 'dormouse.db'), 'a', 0o600));
    const lock = takeLock(path);
    if (!lock) throw inUse(path);
    rmSync(join(path, 'host.json'), { force: true });
    return new DataDirectory(path, isNew, lock);
  }

  /** The host that runs on a data directory, if one says so. It may have died since. */
  static host(folder: string): HostFile | undefined {
    try {
      return JSON.parse(readFileSync(join(resolve(folder), 'host.json'), 'utf8'));
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw new DataDirectoryError(
        `${join(resolve(folder), 'host.json')} cannot be read (${(error as Error).message}); remove it if no host runs there`,
        { cause: error },
      );
    }
  }

  /**
   * Removes all that Dormouse keeps in a folder, and answers the names of what else is there.
   * @throws DataDirectoryError where it is no data directory, or a host holds it
   */
  static empty(folder: string): string[] {
    const path = resolve(folder);
    if (!existsSync(join(path, 'dormouse.db'))) {
      throw new DataDirectoryError(`${path} is no data directory: there is no dormouse.db; nothing was removed`);
    }
    const lock = takeLock(path);
    if (!lock) throw inUse(path);
    try {
      // The database last: without it a folder is no data directory, and could not be emptied again.
      const own = readdirSync(path).filter((name) => kept.has(name.replace(/^host\.log\.\d+$/, 'host.log')));
      for (const name of [...own, 'dormouse.db']) rmSync(join(path, name), { recursive: true });
      rmSync(join(path, 'lock'));
    } finally {
      lock.release();
    }
    return readdirSync(path);
  }

  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** A secret of this directory, made at first use. @throws DataDirectoryError where its file holds none */
  secret(name: string, prefix: string): string {
    const secret = this.keep(name, () => `${prefix}${randomBytes(24).toString('base64')}\n`).trim();
    if (secret.length < prefix.length + 32) {
      throw new DataDirectoryError(`${this.join(name)} holds no secret; remove it, and a new one is made`);
    }
    return secret;
  }

  /** The text of a file that is made once, mode 0600. It appears whole, or not at all. */
  keep(name: string, make: () => string): string {
    const path = this.join(name);
    if (!existsSync(path)) this.write(name, make());
    return readFileSync(path, 'utf8');
  }

  read(name: string): string | undefined {
    return existsSync(this.join(name)) ? readFileSync(this.join(name), 'utf8') : undefined;
  }

  remove(name: string): void {
    rmSync(this.join(name), { force: true });
  }

  announce(host: HostFile): void {
    this.write('host.json', `${JSON.stringify(host)}\n`);
  }

  close(): void {
    rmSync(this.join('host.json'), { force: true });
    this.#lock.release();
  }

  /** Mode 0600; whole, or not at all. */
  write(name: string, text: string): void {
    const beside = this.join(`.${name}`);
    writeFileSync(beside, text, { mode: 0o600, flush: true });
    renameSync(beside, this.join(name));
  }
}

/** What a host makes in its data directory, beside the database and the lock. */
const kept: ReadonlySet<string> = new Set([
  'dormouse.db-wal',
  'dormouse.db-shm',
  'files',
  'files.lock',
  'build',
  'host.json',
  'host.log',
  'push-key.json',
  'heads-key.pem',
  'admin-token',
  'webhook-secret',
  'sandbox.jsonl',
]);

function inUse(path: string): DataDirectoryError {
  const pid = DataDirectory.host(path)?.pid;
  return new DataDirectoryError(
    `the data directory ${path} is in use by another host${pid ? ` (pid ${pid})` : ''}; stop it, or use --data DIR with another`,
    { inUse: true },
  );
}

function takeLock(path: string): LockFile | undefined {
  try {
    return LockFile.take(join(path, 'lock'));
  } catch (cause) {
    throw new DataDirectoryError(
      `the lock of the data directory ${path} cannot be taken (${(cause as Error).message}); check the disk, or remove the file "lock" there`,
      { cause },
    );
  }
}

/** Not `mkdir` with `recursive`: below /proc, Node's never returns (seen with 26.10). */
export function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  if (!existsSync(dirname(path))) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another command may have made it meanwhile.
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}
