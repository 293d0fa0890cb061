import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { backlogsOf } from '@dormouse/broker';
import { isOfSystem } from '@dormouse/core';
import { type Chain, verifiedChains } from './chains.ts';
import { DataDirectory } from './data-directory.ts';
import { headsKeyFile } from './heads-key.ts';
import { LockFile } from './lock-file.ts';
import type { Manifest } from './manifest.ts';
import { checkFiles, referencedFiles } from './referenced-files.ts';
import { integrityProblems, newerThanKnown, olderThanKnown, schemaVersions } from './schema.ts';

/** One line of a health check. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do about it. */
  readonly remedy?: string;
}

const lowDisk = { failBytes: 100e6, warnBytes: 1e9 };
const longestWaitMs = 10 * 60_000;
/** Clocks of one machine differ from themselves by a correction now and then. */
const clockToleranceMs = 60_000;
const namedAtMost = 3;

/** Looks a data directory over, whether a host runs on it or not. Reads only; a part that cannot be read is a finding. */
export async function* examine(folder: string, now: number): AsyncGenerator<Finding> {
  const at = directory(folder);
  yield at;
  if (at.state === 'fail') return;
  yield host(folder);
  yield disk(folder);
  const path = join(folder, 'dormouse.db');
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    // One moment for all checks, whatever a host writes meanwhile.
    database.exec('BEGIN');
    const [damage] = integrityProblems(database);
    yield damage === undefined ? ok('database', 'sound') : damaged(path, damage);
    if (damage !== undefined) return;
    const schema = schemaOf(database);
    yield schema;
    // What comes next reads them as they are now.
    if (schema.state !== 'ok') return;
    yield log(database);
    yield await files(folder, database);
    yield clock(database, now);
    yield* waiting(folder, database, now);
    yield deadLetters(database);
  } catch (error) {
    yield unreadable(path, error as Error & { errcode?: number });
  } finally {
    database?.close();
  }
}

function directory(folder: string): Finding {
  const check = 'data directory';
  if (!existsSync(join(folder, 'dormouse.db'))) {
    return fail(check, `${folder} has no dormouse.db`, 'name a data directory with --data DIR, or make one: npm start');
  }
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    accessSync(join(folder, 'dormouse.db'), constants.R_OK | constants.W_OK);
  } catch (error) {
    return fail(
      check,
      `${(error as Error).message}`,
      `give it to the user that runs the host: chown -R USER ${folder}`,
    );
  }
  const open = ['.', 'dormouse.db', 'admin-token', 'webhook-secret', 'push-key.json', headsKeyFile].filter((name) => {
    const found = statSync(join(folder, name), { throwIfNoEntry: false });
    return found !== undefined && (found.mode & 0o077) !== 0;
  });
  if (open.includes('.') && open.length > 1) {
    return warn(check, `other users may read ${open.slice(1).join(', ')}`, `chmod -R go= ${folder}`);
  }
  return ok(check, folder);
}

function host(folder: string): Finding {
  const check = 'host';
  const found = DataDirectory.host(folder);
  const lock = LockFile.take(join(folder, 'lock'));
  lock?.release();
  if (!lock) return ok(check, found ? `runs, pid ${found.pid}` : 'is starting or stopping');
  return ok(check, found ? `pid ${found.pid} ended without saying so; the next start goes on from there` : 'none runs');
}

function disk(folder: string): Finding {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const text = `${(free / 1e9).toFixed(1)} GB free`;
  const remedy = 'make space: a full disk refuses every command and every step until there is some';
  if (free < lowDisk.failBytes) return fail('disk', text, remedy);
  return free < lowDisk.warnBytes ? warn('disk', text, remedy) : ok('disk', text);
}

function schemaOf(database: DatabaseSync): Finding {
  const versions = schemaVersions(database);
  const newer = newerThanKnown(versions);
  if (newer) return fail('schema', newer, 'use the newer program that wrote it');
  const older = olderThanKnown(versions);
  if (older) return warn('schema', older, 'start a host on it, which brings them forward; then ask again');
  return ok(
    'schema',
    Object.entries(versions)
      .map((pair) => pair.join(' '))
      .join(', '),
  );
}

function log(database: DatabaseSync): Finding {
  const broken: Chain[] = [];
  let chains = 0;
  for (const chain of verifiedChains(database)) {
    chains++;
    if (chain.problem !== undefined) broken.push(chain);
  }
  if (broken.length === 0) return ok('log', `${chains} chains hold`);
  const named = broken.slice(0, namedAtMost).map(({ chain, problem }) => `${chain}: ${problem}`);
  return fail('log', `${broken.length} of ${chains} chains do not hold (${named.join('; ')})`, restoreBackup);
}

async function files(folder: string, database: DatabaseSync): Promise<Finding> {
  const referenced = referencedFiles(database);
  const problems = await checkFiles(join(folder, 'files'), referenced);
  if (problems.length === 0) return ok('files', `${referenced.length} named by documents, all there with their hashes`);
  const named = problems.slice(0, namedAtMost).map(({ key, problem }) => `${key} is ${problem}`);
  return fail(
    'files',
    `${problems.length} of ${referenced.length}: ${named.join('; ')}`,
    `take them from a backup: tar xf BACKUP -C ${folder} files/…`,
  );
}

function clock(database: DatabaseSync, now: number): Finding {
  const last = database
    .prepare('SELECT max(at) AS at FROM (SELECT at FROM entry ORDER BY position DESC LIMIT 1000)')
    .get();
  const ahead = ((last?.at as number | null) ?? 0) - now;
  const text = new Date(now).toISOString();
  if (ahead <= clockToleranceMs) return ok('clock', text);
  return warn(
    'clock',
    `it says ${text}, and the log has entries up to ${new Date(now + ahead).toISOString()}`,
    'set the clock: timers fire by it',
  );
}

function* waiting(folder: string, database: DatabaseSync, now: number): Generator<Finding> {
  const declared = declaredSubscriptions(folder);
  const backlogs = backlogsOf(database);
  let quiet = true;
  for (const { subscription, topic, waiting, oldestAt, pushed, paused, filter } of backlogs) {
    const since = oldestAt === undefined ? '' : `, the oldest since ${new Date(oldestAt).toISOString()}`;
    if (declared && !declared.has(subscription) && isOfSystem(subscription, filter)) {
      quiet = false;
      yield warn(
        'backlog',
        `${subscription} on ${topic} is not declared any more: ${waiting} wait${since}`,
        `dormouse subscriptions move ${subscription} NEW-NAME, or dormouse subscriptions forget ${subscription}`,
      );
    } else if (oldestAt !== undefined && now - oldestAt > longestWaitMs) {
      quiet = false;
      const [why, remedy] = paused
        ? ['; it is paused', `dormouse subscriptions resume ${subscription}`]
        : pushed
          ? ['', 'dormouse services tells whether its service fails']
          : ['; nobody pulls it', 'pull it, or delete it'];
      yield warn('backlog', `${subscription}: ${waiting} wait${since}${why}`, remedy);
    }
  }
  if (quiet) yield ok('backlog', `${backlogs.reduce((sum, { waiting }) => sum + waiting, 0)} wait`);
}

function deadLetters(database: DatabaseSync): Finding {
  const { open } = database
    .prepare(
      `SELECT count(*) AS open FROM document WHERE collection = 'dead-letters' AND json_extract(data, '$.state') = 'open'`,
    )
    .get() as { open: number };
  if (open === 0) return ok('dead letters', 'none open');
  return warn('dead letters', `${open} open`, 'dormouse dead-letters lists them; redrive ID, or discard ID REASON');
}

/** What the system declared when a host last started here. */
function declaredSubscriptions(folder: string): Set<string> | undefined {
  const file = join(folder, 'build', 'services', 'manifest.json');
  if (!existsSync(file)) return undefined;
  const { services } = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
  return new Set(services.flatMap(({ subscriptions }) => subscriptions.map(({ name }) => name)));
}

const restoreBackup = 'restore a backup into a new directory: dormouse restore FILE --data NEW';

function damaged(path: string, problem: string): Finding {
  return fail('database', `${path} is damaged: ${problem.replaceAll('\n', ' ')}`, restoreBackup);
}

function unreadable(path: string, error: Error & { errcode?: number }): Finding {
  const sqliteBusy = 5;
  if (error.errcode === sqliteBusy) {
    return fail('database', `${path} is locked by another program`, 'end what holds it: fuser -v FILE names it');
  }
  return damaged(path, error.message);
}

function ok(check: string, detail: string): Finding {
  return { check, state: 'ok', detail };
}

function warn(check: string, detail: string, remedy: string): Finding {
  return { check, state: 'warn', detail, remedy };
}

function fail(check: string, detail: string, remedy: string): Finding {
  return { check, state: 'fail', detail, remedy };
}
