import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { Database, type DatabaseOptions } from './database.ts';

function open(options: DatabaseOptions = {}, path = newFile()): Database {
  const database = new Database(path, options);
  database.migrate('test', ['CREATE TABLE item (name TEXT PRIMARY KEY) STRICT']);
  onTestFinished(() => database.close());
  return database;
}

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-database-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'test.db');
}

function add(database: Database, name: string): Promise<unknown> {
  return database.write(() => database.prepare('INSERT INTO item (name) VALUES (?)').run(name));
}

function names(database: Database): unknown[] {
  return database
    .prepare('SELECT name FROM item ORDER BY name')
    .all()
    .map((row) => row.name);
}

test('works of one group commit together, and one that throws undoes itself alone', async () => {
  const database = open();
  const outcomes = await Promise.allSettled([
    add(database, 'a'),
    database.write(() => {
      database.prepare("INSERT INTO item (name) VALUES ('half')").run();
      throw new Error('no');
    }),
    add(database, 'b'),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(names(database)).toEqual(['a', 'b']);
});

test('a write is answered when a sync that began after its commit has ended, not before', async () => {
  const syncs: PromiseWithResolvers<void>[] = [];
  const database = open({
    sync: () => {
      const sync = Promise.withResolvers<void>();
      syncs.push(sync);
      return sync.promise;
    },
  });
  const answered: string[] = [];
  const first = add(database, 'a').then(() => answered.push('a'));
  await until(() => syncs.length === 1);
  const second = add(database, 'b').then(() => answered.push('b'));
  await until(() => names(database).includes('b'));
  syncs[0]!.resolve();
  await first;
  expect(answered).toEqual(['a']);
  await until(() => syncs.length === 2);
  expect(answered).toEqual(['a']);
  syncs[1]!.resolve();
  await second;
  expect(answered).toEqual(['a', 'b']);
});

test('writes made during a sync share the next one', async () => {
  let syncs = 0;
  const held = Promise.withResolvers<void>();
  const database = open({ sync: () => (++syncs === 1 ? held.promise : Promise.resolve()) });
  const first = add(database, 'first');
  await until(() => syncs === 1);
  const others = Array.from({ length: 50 }, (_, n) => add(database, `n${n}`));
  await until(() => names(database).length === 51);
  held.resolve();
  await Promise.all([first, ...others]);
  expect(syncs).toBe(2);
});

test('what nobody waits for begins no sync: it shares that of the next, or of the end', async () => {
  let syncs = 0;
  const database = open({ leisureMs: 60_000, sync: async () => void syncs++ });
  const durable: string[] = [];
  const leisurely = (name: string) =>
    database
      .write(() => database.prepare('INSERT INTO item (name) VALUES (?)').run(name), { urgent: false })
      .then(() => durable.push(name));
  const first = leisurely('a');
  await until(() => names(database).includes('a'));
  expect([syncs, durable, database.isIdle]).toEqual([0, [], false]);
  await add(database, 'b');
  await first;
  expect([syncs, durable, database.isIdle]).toEqual([1, ['a'], true]);
  const last = leisurely('c');
  await database.close();
  await last;
  expect([syncs, durable]).toEqual([2, ['a', 'c']]);
});

test('a disk that refuses to sync fails every write that waits, and every later one', async () => {
  const database = open({ sync: () => Promise.reject(new Error('EIO')) });
  await expect(add(database, 'a')).rejects.toThrow(/refused to sync/);
  await expect(add(database, 'b')).rejects.toThrow(/refused to sync/);
});

test('afterSync calls back before the writer is answered, and not for a work that threw', async () => {
  const database = open();
  const order: string[] = [];
  const good = database.write(() => database.afterSync(() => order.push('synced'))).then(() => order.push('answered'));
  const bad = database.write(() => {
    database.afterSync(() => order.push('never'));
    throw new Error('no');
  });
  await good;
  await expect(bad).rejects.toThrow('no');
  expect(order).toEqual(['synced', 'answered']);
});

test('what was written is there after closing and opening again', async () => {
  const path = newFile();
  const database = open({}, path);
  await add(database, 'kept');
  await database.close();
  expect(names(open({}, path))).toEqual(['kept']);
});

test('closing waits for what is queued, then refuses', async () => {
  const database = open();
  const written = add(database, 'a');
  await database.close();
  await written;
  await expect(add(database, 'b')).rejects.toThrow(/is closed/);
});

test('while another connection holds the file, writes wait their turn in order and the loop goes on', async () => {
  const path = newFile();
  const database = open({}, path);
  const other = new DatabaseSync(path);
  onTestFinished(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  const answered: string[] = [];
  const first = add(database, 'a').then(() => answered.push('a'));
  // The loop goes round: nothing waits inside SQLite.
  for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate);
  expect(answered).toEqual([]);
  const second = add(database, 'b').then(() => answered.push('b'));
  other.exec('COMMIT');
  await Promise.all([first, second]);
  expect(answered).toEqual(['a', 'b']);
});

test('a migration that fails leaves the file as it was', () => {
  const path = newFile();
  const database = open({}, path);
  expect(() => database.migrate('test', ['', 'CREATE TABLE more (x) STRICT; no sql'])).toThrow();
  expect(() => database.migrate('test', ['', 'CREATE TABLE more (x INTEGER) STRICT'])).not.toThrow();
});

test('tables grow by one version after the other, and newer ones than the program knows are refused', async () => {
  const path = newFile();
  const older = open({}, path);
  older.migrate('test', ['', 'ALTER TABLE item ADD COLUMN size INTEGER']);
  older.migrate('test', ['', 'never again']);
  await older.write(() => older.prepare("INSERT INTO item (name, size) VALUES ('a', 1)").run());
  expect(() => older.migrate('test', ['only one'])).toThrow(/have version 2, this program knows up to 1/);
});

async function until(holds: () => boolean): Promise<void> {
  await expect.poll(holds, { interval: 1 }).toBe(true);
}

test('what the write-ahead log holds goes into the database while it is open', async () => {
  const path = newFile();
  const database = open({}, path);
  for (let n = 0; n < 5; n++) await add(database, `${n}`.padEnd(1e6));
  await expect.poll(() => statSync(path).size).toBeGreaterThan(4e6);
});
