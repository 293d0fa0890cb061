import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type BackupContents, BackupError } from './backup.ts';
import { verifiedChains } from './chains.ts';
import { makeFolder } from './data-directory.ts';
import { checkFiles, hashOfFile, referencedFiles } from './referenced-files.ts';
import { integrityProblems, newerThanKnown } from './schema.ts';

/**
 * Makes a data directory of a backup, in a folder that is empty or does not exist yet.
 *
 * Unpacked and verified below `.restoring` there, then moved into place, the database last: what is not sound leaves
 * nothing behind. Verified are: the database's hash and SQLite's own check of it, every hash chain against its head, and that
 * every file a document names is there with its hash.
 * @throws BackupError
 */
export async function restoreBackup(file: string, folder: string): Promise<BackupContents> {
  if (!existsSync(file)) throw new BackupError(`there is no backup ${file}`);
  const existed = existsSync(folder);
  try {
    if (existed && readdirSync(folder).length > 0) {
      throw new BackupError(`${folder} is not empty; name a new folder with --data DIR, or empty it first`);
    }
    makeFolder(folder);
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError(`${folder} cannot be written (${(error as Error).message}); name another with --data DIR`);
  }
  const staging = join(folder, '.restoring');
  try {
    await mkdir(staging, { mode: 0o700 });
    await unpack(file, staging);
    const contents = await verify(file, staging);
    await moveIntoPlace(staging, folder);
    return contents;
  } catch (error) {
    await rm(existed ? staging : folder, { recursive: true, force: true });
    if (error instanceof BackupError) throw error;
    throw new BackupError(`${file} could not be restored to ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

async function unpack(file: string, staging: string): Promise<void> {
  const tar = await import('tar');
  try {
    await tar.extract({
      file,
      cwd: staging,
      strict: true,
      preserveOwner: false,
      filter: (path, entry) => {
        const plain = 'type' in entry && ['File', 'OldFile', 'ContiguousFile'].includes(entry.type);
        if (!plain) throw new BackupError(`${file} is no backup of Dormouse: "${path}" in it is no plain file`);
        return true;
      },
      onReadEntry: (entry) => {
        entry.mode = 0o600;
      },
      dmode: 0o700,
    });
  } catch (error) {
    if (error instanceof BackupError || (error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
    throw new BackupError(`${file} is no backup of Dormouse, or not a whole one (${(error as Error).message})`, {
      cause: error,
    });
  }
}

async function verify(file: string, staging: string): Promise<BackupContents> {
  const refuse = (what: string): never => {
    throw new BackupError(`${file} is not restored: ${what}`);
  };
  const contents = readContents(staging) ?? refuse('it is no backup of Dormouse, or not a whole one');
  if (contents.format !== 1) refuse(`it has format ${contents.format}, this program knows 1; use a newer program`);
  const newer = newerThanKnown(contents.schema);
  if (newer) refuse(`${newer}; use a newer program`);
  const path = join(staging, 'dormouse.db');
  if (!existsSync(path) || (await hashOfFile(path)) !== contents.database.sha256) {
    refuse('its database is not the one that was backed up; take another backup');
  }
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const [damage] = integrityProblems(database);
    if (damage) refuse(`its database is damaged (${damage}); take another backup`);
    const broken = verifiedChains(database).find(({ problem }) => problem !== undefined);
    if (broken) refuse(`the log of ${broken.chain} does not hold: ${broken.problem}; take another backup`);
    const gone = new Set(contents.missing);
    const problems = await checkFiles(join(staging, 'files'), referencedFiles(database));
    const [problem] = problems.filter(({ key }) => !gone.has(key));
    if (problem) refuse(`the file ${problem.key} is ${problem.problem}; take another backup`);
  } finally {
    database.close();
  }
  return contents;
}

function readContents(staging: string): BackupContents | undefined {
  try {
    return JSON.parse(readFileSync(join(staging, 'backup.json'), 'utf8'));
  } catch {
    // Not there, or cut short: the caller says that it is no backup.
    return undefined;
  }
}

async function moveIntoPlace(staging: string, folder: string): Promise<void> {
  await rm(join(staging, 'backup.json'));
  const database = await open(join(staging, 'dormouse.db'), 'r+');
  await database.datasync().finally(() => database.close());
  const names = readdirSync(staging).filter((name) => name !== 'dormouse.db');
  // The database last: without it a folder is no data directory.
  for (const name of [...names, 'dormouse.db']) await rename(join(staging, name), join(folder, name));
  await rm(staging, { recursive: true });
}
