import { copyFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { Bench, topic } from './broker-bench.ts';
import { Database } from './database.ts';
import { DatabaseError } from './database-error.ts';
import type { Delivery } from './deliveries.ts';
import type { Lease } from './lease.ts';

const deadLetterTopic = 'projects/p/topics/dead';
const morgue = 'projects/p/subscriptions/morgue';
const tenants = ['big', 'small'];

/** What was seen of a message from outside. */
interface Seen {
  readonly key: string;
  /** Acked, and told so. */
  acked: boolean;
  /** Acked, nobody knows. */
  maybe: boolean;
  dead: boolean;
  /** Whoever has it may think so until then. */
  heldUntil: number;
}

const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      key: fc.constantFrom('a', 'a', 'b', ''),
      each: fc.array(fc.record({ tenant: fc.constantFrom(...tenants), hidden: fc.boolean() }), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('lease' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('ack' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('nack' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('extend' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 900, 9_000, 11_000) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('seek' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('prune' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('full' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
);

test('property: whatever meets in one write, and wherever it crashes, exactly-once, order and counts hold, and all is delivered', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({ ordered: fc.boolean(), mortal: fc.boolean(), filtered: fc.boolean() }),
      fc.array(command, { maxLength: 70, size: 'max' }),
      async ({ ordered, mortal, filtered }, commands) => {
        const bench = new Bench();
        await bench.broker.createTopic({ name: deadLetterTopic });
        await bench.broker.createSubscription({ name: morgue, topic: deadLetterTopic });
        await bench.create({
          enableExactlyOnceDelivery: true,
          enableMessageOrdering: ordered,
          retryPolicy: { minimumBackoff: '0s', maximumBackoff: '1s' },
          ...(mortal && { deadLetterPolicy: { deadLetterTopic, maxDeliveryAttempts: 5 } }),
          ...(filtered && { filter: 'NOT attributes:hidden' }),
        });
        const all = new Map<string, Seen>();
        const out: { readonly text: string; readonly delivery: Delivery }[] = [];
        let works: Promise<unknown>[] = [];
        /** Not waited for: what comes next meets it. The disk may refuse it. */
        const meanwhile = (work: Promise<unknown>) =>
          works.push(
            work.catch((error) => {
              if (!(error instanceof DatabaseError)) wrong.push(error);
            }),
          );
        const wrong: unknown[] = [];
        let copies = 0;
        const now = () => bench.clock.time;
        const show = (leases: readonly Lease[], leasedAt: number) => {
          for (const { message, attempt, expiresAt } of leases) {
            const text = atob(message.data);
            const seen = all.get(text)!;
            expect(seen.acked, `${text} was acked`).toBe(false);
            expect(seen.dead, `${text} was dead`).toBe(false);
            expect(seen.heldUntil, `${text} is held, attempt ${attempt}`).toBeLessThanOrEqual(leasedAt);
            if (mortal) expect(attempt).toBeLessThanOrEqual(5);
            if (ordered && seen.key !== '') {
              for (const [before, each] of all) {
                if (before === text) break;
                if (each.key === seen.key)
                  expect(each.acked || each.maybe || each.dead, `${text} before ${before}`).toBe(true);
              }
            }
            seen.heldUntil = expiresAt;
            out.push({ text, delivery: { position: message.position, attempt } });
          }
        };
        const lease = async (count: number) => {
          const at = now();
          const leases = await bench.broker.deliveries
            .leaseOrWait(bench.subscription, count, 0, undefined)
            .catch(() => []);
          show(leases, at);
        };
        const ack = async ({ text, delivery }: (typeof out)[number]) => {
          const seen = all.get(text)!;
          const before = seen.maybe;
          seen.maybe = true;
          const gone = await bench.broker.deliveries.ackExactly(bench.subscription, [delivery]).catch(() => undefined);
          if (gone?.length === 0) seen.acked = true;
          else if (gone) seen.maybe = before;
        };
        const buried = () => {
          const letters = bench.broker.deliveries.lease(bench.broker.subscription(morgue), 1_000);
          for (const { message } of letters) {
            bench.broker.deliveries.ack(bench.broker.subscription(morgue), message.position);
            const seen = all.get(atob(message.data))!;
            expect(seen.acked).toBe(false);
            seen.dead = true;
          }
        };
        const pick = (n: number) => out[n % Math.max(1, out.length)];
        const settle = async () => {
          await Promise.all(works);
          works = [];
          if (wrong.length > 0) throw wrong[0];
        };
        let count = 0;
        for (const each of commands) {
          const picked = 'pick' in each ? pick(each.pick) : undefined;
          if (each.do === 'publish') {
            const messages = each.each.map(({ tenant, hidden }) => {
              const text = String(count++);
              const isHidden = filtered && hidden;
              if (!isHidden) all.set(text, { key: each.key, acked: false, maybe: false, dead: false, heldUntil: 0 });
              const attributes = { tenant, ...(isHidden && { hidden: 'y' }) };
              return { data: btoa(text), attributes, orderingKey: each.key };
            });
            await bench.broker.publish(topic, messages).catch(() => {
              for (const { data } of messages) all.delete(atob(data));
            });
          } else if (each.do === 'lease') meanwhile(lease(each.count));
          else if (each.do === 'ack' && picked) meanwhile(ack(picked));
          else if (each.do === 'nack' && picked) {
            all.get(picked.text)!.heldUntil = 0;
            meanwhile(bench.broker.deliveries.nackExactly(bench.subscription, [picked.delivery]));
          } else if (each.do === 'extend' && picked) {
            const until = now() + 30_000;
            const nackedBefore = all.get(picked.text)!.heldUntil;
            meanwhile(
              bench.broker.deliveries.extendExactly(bench.subscription, [picked.delivery], 30_000).then((gone) => {
                const seen = all.get(picked.text)!;
                if (gone.length === 0 && seen.heldUntil === nackedBefore && nackedBefore > 0) seen.heldUntil = until;
              }),
            );
          } else if (each.do === 'pass') bench.clock.pass(each.ms);
          else if (each.do === 'turn') await new Promise(setImmediate);
          else if (each.do === 'settle') await settle();
          else if (each.do === 'seek') {
            for (const seen of all.values()) seen.heldUntil = 0;
            meanwhile(
              bench.broker.seeks.toTime(bench.subscription.config.name, 0).then(() => {
                for (const seen of all.values()) seen.heldUntil = 0;
              }),
            );
          } else if (each.do === 'prune') meanwhile(bench.broker.housekeeping.prune(10));
          else if (each.do === 'full') {
            bench.database.prepare('PRAGMA query_only = ON').get();
            await new Promise(setImmediate);
            await new Promise(setImmediate);
            bench.database.prepare('PRAGMA query_only = OFF').get();
          } else if (each.do === 'crash') {
            // The files as they are in this moment, of which a commit may not have been told to anybody.
            const path = `${bench.path}.${copies++}`;
            copyFileSync(bench.database.path, path);
            copyFileSync(`${bench.database.path}-wal`, `${path}-wal`);
            const { broker, database } = bench;
            const dying = settle();
            const before = [...all].map(([text, seen]) => [text, { ...seen }] as const);
            broker.close();
            await dying;
            await database.close();
            // What was answered after the copy was never said.
            for (const [text, seen] of before) all.set(text, { ...seen, maybe: seen.maybe || all.get(text)!.maybe });
            out.length = 0;
            bench.database = new Database(path);
            bench.broker = new Broker(bench.database, bench.clock, { fairBy: 'tenant' });
          }
        }
        await settle();
        out.length = 0;
        for (let quiet = 0; quiet < 4; ) {
          bench.clock.pass(31_000);
          await bench.database.write(() => {});
          await new Promise(setImmediate);
          buried();
          const before = out.length;
          await lease(10);
          quiet = out.length === before ? quiet + 1 : 0;
          await Promise.all(out.slice(before).map(ack));
        }
        buried();
        const missing = [...all]
          .filter(([, { acked, maybe, dead }]) => !acked && !maybe && !dead)
          .map(([text]) => text);
        expect(missing).toEqual([]);
        await bench.close();
      },
    ),
    { numRuns: 20 },
  );
}, 120_000);
