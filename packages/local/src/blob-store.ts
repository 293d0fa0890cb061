import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type BlobStore, DormouseError } from '@dormouse/core';

/** No key begins with a dot. */
const unfinished = '.unfinished';

/** Files below a folder. A file appears whole or not at all: written apart, synced, then renamed. */
export class FileBlobStore implements BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  path(key: string): string {
    const parts = key.split('/');
    if (parts.some((part) => part === '' || part.startsWith('.') || /[\\\0]/.test(part))) {
      throw new DormouseError('blob.missing', `"${key}" is no key of a file`);
    }
    return join(this.#folder, ...parts);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.path(key);
    if (await exists(path)) return;
    const apart = join(this.#folder, unfinished, `.${randomUUID()}`);
    try {
      for (const file of [apart, path]) await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      const file = await open(apart, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(apart, path);
    } catch (error) {
      // What did not fit must not fill the disk for good.
      await rm(apart, { force: true });
      throw diskRefused(path, error);
    }
    const folder = await open(dirname(path), 'r');
    await folder.sync().finally(() => folder.close());
  }

  async get(key: string): Promise<Uint8Array> {
    try {
      return await readFile(this.path(key));
    } catch (cause) {
      throw new DormouseError('blob.missing', `there is no file "${key}"`, { cause });
    }
  }

  async removeAll(prefix: string): Promise<number> {
    const path = this.path(prefix.replace(/\/$/, ''));
    const found = await stat(path).catch(() => undefined);
    if (!found) return 0;
    const count = found.isDirectory() ? await filesIn(path) : 1;
    await rm(path, { recursive: true, force: true });
    const folder = await open(dirname(path), 'r');
    await folder.sync().finally(() => folder.close());
    return count;
  }

  /** Removes what writes left that were killed before that time, epoch ms: a handful, if any. How many files went. */
  removeUnfinished(before: number): number {
    const folder = join(this.#folder, unfinished);
    // Without the folder nothing was ever written.
    const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
    const old = files.filter((file) => {
      const found = statSync(file, { throwIfNoEntry: false });
      return found !== undefined && found.mtimeMs < before;
    });
    for (const file of old) rmSync(file, { force: true });
    return old.length;
  }
}

/** A full or failing disk is no failure of the handler's: like a store that does not answer, it uses up no attempt. */
function diskRefused(path: string, cause: unknown): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  if (!['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE', 'ENFILE'].includes(code ?? '')) return cause;
  const remedy = code === 'ENOSPC' || code === 'EDQUOT' ? 'its disk is full; make space there' : 'check its disk';
  return new DormouseError('store.unavailable', `${path} cannot be written (${code}): ${remedy}`, { cause });
}

async function filesIn(folder: string): Promise<number> {
  return (await readdir(folder, { recursive: true, withFileTypes: true })).filter((each) => each.isFile()).length;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
