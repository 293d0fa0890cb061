import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { LockFile } from './lock-file.ts';
import { hashOfFile, referencedFiles } from './referenced-files.ts';
import { integrityProblems, schemaVersions } from './schema.ts';

/** What a backup says of itself, in its first file, `backup.json`. */
export interface BackupContents {
  readonly format: 1;
  /** Version of the program that made it. */
  readonly dormouse: string;
  /** ISO 8601. */
  readonly takenAt: string;
  /** Version of each component's tables. */
  readonly schema: Readonly<Record<string, number>>;
  readonly workflows: number;
  readonly database: { readonly bytes: number; readonly sha256: string };
  readonly files: { readonly count: number; readonly bytes: number };
  /** Keys of files that documents name and that were gone before: the backup cannot hold them. */
  readonly missing: readonly string[];
  /** Files with secrets in it. */
  readonly secrets: readonly string[];
}

export class BackupError extends Error {
  override readonly name = 'BackupError';
}

/**
 * Of the secrets only what someone outside holds the other half of. The admin's token stays behind, so that a backup in
 * the wrong hands opens no running system; the key that signs pushes is made anew.
 */
const secretsKept = ['webhook-secret'];

/** All pages in one go: with smaller steps every write of the host would start the copy over. */
const allPages = 2 ** 31 - 1;

/**
 * Copies a data directory into one tar file, whether a host runs on it or not, without asking the host anything.
 *
 * The database first, as it is at one moment, then the files: a file is durable before a document names it, and the lock
 * `files.lock` keeps retention from removing any meanwhile. So the copy lacks no file that its documents name. The tar
 * unpacks to a data directory.
 * @throws BackupError where there is nothing to back up, or the copy is not sound
 */
export async function backUp(folder: string, to: string, dormouse: string, now: number): Promise<BackupContents> {
  const source = join(folder, 'dormouse.db');
  if (!existsSync(source)) {
    throw new BackupError(`${folder} is no data directory: there is no dormouse.db; name one with --data DIR`);
  }
  if (existsSync(to)) throw new BackupError(`${to} exists already; name a file that does not`);
  const staging = join(dirname(resolve(to)), `.backup-${randomUUID()}`);
  let lock: LockFile | undefined;
  try {
    await mkdir(staging, { mode: 0o700 });
    lock = LockFile.take(join(folder, 'files.lock'));
    if (!lock) throw new BackupError(`another backup of ${folder} is being made; wait until it is done`);
    const contents = await stage(folder, staging, dormouse, now);
    await writeTar(folder, staging, contents, to);
    return contents;
  } catch (error) {
    if (error instanceof BackupError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new BackupError(`no backup was made of ${folder} to ${to}: ${(error as Error).message}${remedyOf(code)}`, {
      cause: error,
    });
  } finally {
    lock?.release();
    await rm(staging, { recursive: true, force: true });
  }
}

async function stage(folder: string, staging: string, dormouse: string, now: number): Promise<BackupContents> {
  const copy = join(staging, 'dormouse.db');
  const live = new DatabaseSync(join(folder, 'dormouse.db'), { readOnly: true, timeout: 5_000 });
  await backup(live, copy, { rate: allPages }).finally(() => live.close());
  chmodSync(copy, 0o600);
  const database = new DatabaseSync(copy);
  try {
    // One file, without a log beside it.
    database.exec('PRAGMA journal_mode = DELETE');
    const damage = integrityProblems(database);
    if (damage.length > 0) {
      throw new BackupError(
        `${join(folder, 'dormouse.db')} is damaged (${damage[0]}), so no backup was made; \`dormouse doctor\` tells more`,
      );
    }
    const blobs = join(folder, 'files');
    const missing = referencedFiles(database).filter(({ key }) => !existsSync(join(blobs, key)));
    const present = filesBelow(blobs);
    const contents: BackupContents = {
      format: 1,
      dormouse,
      takenAt: new Date(now).toISOString(),
      schema: schemaVersions(database),
      workflows: Number(
        database.prepare("SELECT count(*) AS count FROM document WHERE collection = 'workflows'").get()!.count,
      ),
      database: { bytes: (await stat(copy)).size, sha256: await hashOfFile(copy) },
      files: { count: present.length, bytes: await sizeOf(blobs, present) },
      missing: missing.map(({ key }) => key),
      secrets: secretsKept.filter((name) => existsSync(join(folder, name))),
    };
    await writeFile(join(staging, 'backup.json'), `${JSON.stringify(contents, null, 2)}\n`, { mode: 0o600 });
    return contents;
  } finally {
    database.close();
  }
}

async function writeTar(folder: string, staging: string, { secrets }: BackupContents, to: string): Promise<void> {
  // Loaded here: a host has no use for it.
  const tar = await import('tar');
  const file = join(staging, 'backup.tar');
  await writeFile(file, '', { mode: 0o600 });
  await tar.create({ file, cwd: staging, strict: true }, ['backup.json', 'dormouse.db']);
  const rest = [...secrets, ...filesBelow(join(folder, 'files')).map((name) => join('files', name))];
  if (rest.length > 0) await tar.replace({ file, cwd: folder, strict: true }, rest);
  const written = await open(file, 'r+');
  await written.datasync().finally(() => written.close());
  if (existsSync(to)) throw new BackupError(`${to} exists already; name a file that does not`);
  await rename(file, to);
  const beside = await open(dirname(resolve(to)), 'r');
  await beside.sync().finally(() => beside.close());
}

/** Names relative to the folder, without those still being written. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

async function sizeOf(folder: string, names: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const name of names) bytes += (await stat(join(folder, name))).size;
  return bytes;
}

function remedyOf(code: string | undefined): string {
  if (code === 'ENOSPC') return '; make space there, or name a file on another disk';
  if (code === 'ENOENT') return '; make its folder first';
  return '';
}
