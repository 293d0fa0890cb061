import type { DatabaseSync } from 'node:sqlite';
import { parseFilter } from './filter.ts';
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
  const unsettled = database.prepare(
    `SELECT published_at, attributes FROM message WHERE position > ?1 AND topic = ?2 AND NOT EXISTS
     (SELECT 1 FROM exception WHERE subscription = ?3 AND exception.position = message.position AND due_at IS NULL)
     ORDER BY position`,
  );
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
      for (const row of unsettled.iterate(cursor!, topic!, id!)) {
        if (!matches(JSON.parse(row.attributes as string))) continue;
        oldestAt ??= row.published_at as number;
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
