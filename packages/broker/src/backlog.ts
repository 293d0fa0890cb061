import type { DatabaseSync } from 'node:sqlite';
import { Batch, type BatchRow } from './batch.ts';
import { parseFilter } from './filter.ts';
import { lanesOf, type PubsubMessage } from './log.ts';
import { shortName } from './names.ts';
import type { SubscriptionConfig } from './subscription-config.ts';

export interface Backlog {
  readonly subscription: string;
  readonly topic: string;
  /** Counted up to `mostCounted`. */
  readonly waiting: number;
  /** When the oldest of them was published, epoch milliseconds. */
  readonly oldestAt: number | undefined;
  /** Where not, it is for whoever pulls. */
  readonly pushed: boolean;
  readonly paused: boolean;
  readonly filter: string;
}

export const mostCounted = 10_000;

/** What every subscription has not settled, read from a broker's file alone, while a broker runs on it or not. */
export function backlogsOf(database: DatabaseSync): Backlog[] {
  return database
    .prepare('SELECT * FROM subscription ORDER BY name')
    .all()
    .map(({ id, topic, cursor, config }) => {
      const {
        name,
        topic: topicName,
        filter = '',
        pushConfig,
        paused = false,
      }: SubscriptionConfig = JSON.parse(config as string);
      const matches = parseFilter(filter);
      let waiting = 0;
      let oldestAt: number | undefined;
      for (const { publishedAt, attributes } of unsettled(database, {
        id: id as number,
        topicId: topic as number,
        cursor: cursor as number,
      })) {
        if (!matches(attributes)) continue;
        oldestAt = Math.min(oldestAt ?? Number.POSITIVE_INFINITY, publishedAt);
        if (++waiting === mostCounted) break;
      }
      return {
        subscription: shortName(name),
        topic: shortName(topicName),
        waiting,
        oldestAt,
        pushed: Boolean(pushConfig?.pushEndpoint),
        paused,
        filter,
      };
    });
}

/** A subscription, as its row has it. */
export interface Reader {
  readonly id: number;
  readonly topicId: number;
  readonly cursor: number;
}

/** The messages that a subscription has not settled, whatever its filter: lane by lane, in order. */
export function* unsettled(
  database: Pick<DatabaseSync, 'prepare'>,
  { id, topicId, cursor }: Reader,
): Generator<Pick<PubsubMessage, 'attributes'> & { readonly publishedAt: number }> {
  const lanes = database.prepare(`${lanesOf(topicId)} SELECT lane FROM lanes WHERE lane IS NOT NULL`);
  const ofLane = database.prepare(
    `SELECT last, count, published_at, attributes FROM batch WHERE topic = ${topicId} AND lane = ? AND last > ? ORDER BY last`,
  );
  const settled = database.prepare(
    `SELECT position FROM exception WHERE subscription = ${id} AND due_at IS NULL AND position >= ? AND position <= ?`,
  );
  for (const { lane } of lanes.all()) {
    for (const row of ofLane.iterate(lane!, cursor)) {
      const batch = new Batch(row as unknown as BatchRow);
      const { publishedAt, last } = batch;
      const first = Math.max(batch.first, cursor + 1);
      const excepted = new Set(settled.all(first, last).map(({ position }) => position));
      for (let position = first; position <= last; position++) {
        if (!excepted.has(position)) yield { publishedAt, attributes: batch.attributesOf(position) };
      }
    }
  }
}
