import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Broker, Database, DatabaseError } from '@dormouse/broker';
import { createEndpoint, deliveryOf, firing, on, refOf, service, timersOf, topic, workflow } from '@dormouse/core';
import { publishingTo, Retention, SqliteStateStore, verifiedChains } from '@dormouse/local';
import { expect, onTestFinished, test } from 'vitest';
import * as z from 'zod';
import { ManualClock } from './manual-clock.ts';
import { quiet, servicePorts } from './service-ports.ts';

/**
 * Files as older programs left them, written by those programs: a parcel with a timer that waits and a dead letter, a
 * delivery that is settled and whose ack was lost, and one that has not been tried.
 */
const older = ['state-2-broker-2'];
const subscription = 'projects/dormouse/subscriptions/van.parcel.stop';
const parcel = workflow<{ status: string; stops: string[] }>({ idPrefix: 'PA' });
const stop = topic('parcel.stop', { schema: z.object({ at: z.string() }) });

test.each(older)(
  'a file of an older program (%s) is brought forward, and the system goes on from there',
  async (version) => {
    const clock = new ManualClock(Date.UTC(2026, 0, 2));
    const { database, broker, store, path } = open(fileOf(version), clock);
    const endpoint = createEndpoint(
      service('van', [
        on(stop, async ({ data }, step) => {
          const found = await step.workflow(parcel);
          found.update({ stops: [...found.data.stops, data.at] });
        }),
      ]),
      { ...servicePorts(store, clock), system: 'post' },
    );
    const work = async () => {
      for (const timer of await store.due(clock.now(), 10)) await store.commit(firing(timer));
      for (const { message } of broker.deliveries.lease(broker.subscription(subscription), 10)) {
        await endpoint.deliver(deliveryOf('van.parcel.stop', message));
        broker.deliveries.ack(broker.subscription(subscription), message.position);
      }
      await database.write(() => {});
    };
    const stops = async () => (await store.get(['workflows/PA-1']))[0]!.data!.stops;

    expect(await stops()).toEqual(['depot', 'harbour']);
    // What is settled is not done again; what waits is done.
    await work();
    expect(await stops()).toEqual(['depot', 'harbour', 'airport']);
    expect(await timersOf(store, 'workflows/PA-1')).toMatchObject([{ name: 'last mile' }]);
    clock.advance(86_400_000);
    await work();
    expect(await stops()).toEqual(['depot', 'harbour', 'airport', 'home']);
    expect((await store.find({ collection: 'dead-letters' })).documents).toHaveLength(1);
    const reader = new DatabaseSync(path, { readOnly: true });
    onTestFinished(() => reader.close());
    expect([...verifiedChains(reader)]).toEqual([{ chain: 'workflows/PA-1', entries: expect.any(Number) }]);

    // Retention knows what was settled before it came.
    clock.advance(100 * 86_400_000);
    const settings = { inboxMs: 30 * 86_400_000, logMs: 3_600_000, journalMs: undefined, filesMs: undefined };
    const directory = { join: (...names: string[]) => names.join('/') };
    await new Retention({ directory, database, broker, store, clock, log: quiet, settings }).round();
    const inbox = reader.prepare("SELECT data ->> 'state' AS state FROM document WHERE collection = 'inbox'").all();
    expect(inbox).toEqual([{ state: 'dead-letter' }]);
    expect((await store.get([refOf('workflows', 'PA-1')]))[0]!.data).not.toBeNull();
  },
);

test('a file of a newer program is refused by name, and stays as it is', () => {
  const path = fileOf(older[0]!);
  const newer = new DatabaseSync(path);
  newer.exec("UPDATE schema_version SET version = 99 WHERE component = 'state'");
  newer.close();
  const refused = () => open(path, new ManualClock());
  expect(refused).toThrow(DatabaseError);
  expect(refused).toThrow(`${path}: its state tables have version 99, this program knows up to`);
});

function fileOf(version: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-migration-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'dormouse.db');
  const database = new DatabaseSync(path);
  database.exec(readFileSync(join(import.meta.dirname, `../fixtures/${version}.sql`), 'utf8'));
  database.close();
  return path;
}

function open(path: string, clock: ManualClock) {
  const database = new Database(path);
  onTestFinished(() => database.close());
  const broker = new Broker(database, clock, { fairBy: 'ce-tenant', tidies: false });
  const topicName = (name: string) => `projects/dormouse/topics/${name}`;
  const store = new SqliteStateStore({
    database,
    ...publishingTo(broker, topicName),
    system: 'post',
    audit: false,
    now: clock.now,
  });
  return { database, broker, store, path };
}
