import type { StatementSync } from 'node:sqlite';
import { smallBytes } from './batch.ts';
import type { Database } from './database.ts';
import { holding, lanesOf } from './log.ts';

/** A message of an ordering key that is not settled, with what is on disk of it. */
export interface Unsettled {
  readonly position: number;
  readonly lane: string;
  readonly attempts: number;
  readonly deaths: number;
  /** It waits until then. */
  readonly dueAt: number | null;
  readonly hasRow: boolean;
}

/** A row of this table, as `within` reads it. */
export interface Exception {
  readonly position: number;
  readonly attempts: number;
  readonly deaths: number;
  readonly dueAt: number | null;
  readonly leased: number;
}

/**
 * What a subscription has on disk beside its cursor: one row for each message past it that is not simply unseen.
 *
 *   due_at NULL         settled ahead of the cursor
 *   due_at, leased = 0  waiting: nacked or expired, may be leased again from then on
 *   due_at, leased = 1  leased until then, written down before anyone saw the message, where attempts or leases must outlast
 *                       a crash. Also what was given back unseen, or taken back behind another of its key: the next lease writes over it.
 */
export class Exceptions {
  readonly lanes: StatementSync;
  /** How far so many batches of a lane go. */
  readonly reach: StatementSync;
  /** Of a lane, what is not excepted as a whole. */
  readonly scan: StatementSync;
  readonly within: StatementSync;
  /** The batches of a key. */
  readonly ofKey: StatementSync;
  readonly due: StatementSync;
  readonly leased: StatementSync;
  readonly unlease: StatementSync;
  readonly endLeases: StatementSync;
  readonly nextDue: StatementSync;
  readonly firstWaiting: StatementSync;
  readonly waitingTo: StatementSync;
  readonly put: StatementSync;
  readonly forget: StatementSync;
  readonly unsettle: StatementSync;
  readonly cursor: StatementSync;
  readonly move: StatementSync;
  readonly backlog: StatementSync;
  readonly firstUnsettled: StatementSync;

  static readonly schema = [
    `CREATE TABLE exception (
       subscription INTEGER NOT NULL,
       position INTEGER NOT NULL,
       attempts INTEGER NOT NULL,
       due_at INTEGER,
       PRIMARY KEY (subscription, position)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX exception_by_due_at ON exception (subscription, due_at) WHERE due_at IS NOT NULL;`,
    'ALTER TABLE exception ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;',
    `ALTER TABLE exception ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;
     DROP INDEX exception_by_due_at;
     CREATE INDEX exception_by_due_at ON exception (subscription, due_at) WHERE due_at IS NOT NULL AND leased = 0;
     CREATE INDEX exception_open ON exception (subscription, position) WHERE due_at IS NOT NULL;`,
  ];

  constructor(database: Database, id: number, topicId: number) {
    const lanes = lanesOf(topicId);
    const ofLane = `topic = ${topicId} AND batch.lane = lanes.lane AND batch.last > ?`;
    this.lanes = database.prepare(`${lanes} SELECT lane FROM lanes WHERE EXISTS (SELECT 1 FROM batch WHERE ${ofLane})`);
    this.reach = database.prepare(
      `SELECT last FROM batch WHERE topic = ${topicId} AND lane = ? AND last > ? AND last <= ? ORDER BY last LIMIT 1 OFFSET ?`,
    );
    // What is excepted as a whole is passed over in the indexes: a restart meets all that waits, and read row by row that takes ten times as long.
    this.scan = database.prepare(
      `SELECT last, count, topic, lane, id, published_at, ordering_key, attributes, lengths,
         CASE WHEN length(data) <= ${smallBytes} * count THEN data END AS data
       FROM batch WHERE topic = ${topicId} AND lane = ? AND last > ? AND last <= ? AND count >
         (SELECT count(*) FROM exception WHERE subscription = ${id} AND position > batch.last - batch.count AND position <= batch.last)
       ORDER BY last`,
    );
    this.within = database.prepare(
      `SELECT position, attempts, deaths, due_at AS dueAt, leased FROM exception WHERE subscription = ${id} AND position >= ? AND position <= ?`,
    );
    this.ofKey = database.prepare(
      `SELECT last, count, published_at AS publishedAt, lane FROM batch
       WHERE topic = ${topicId} AND ordering_key = ? AND last > ? AND last <= ? ORDER BY last`,
    );
    const held = `CROSS JOIN batch ON ${holding('exception.position')}`;
    this.due = database.prepare(
      `SELECT exception.position, due_at AS dueAt, attempts, deaths, lane, ordering_key AS key, published_at AS publishedAt
       FROM exception ${held}
       WHERE subscription = ${id} AND due_at <= ? AND leased = 0 AND (due_at, exception.position) > (?, ?) ORDER BY due_at, exception.position`,
    );
    this.leased = database.prepare(
      `SELECT exception.position, attempts, deaths, due_at AS dueAt, lane FROM exception ${held}
       WHERE subscription = ${id} AND due_at IS NOT NULL AND leased = 1 ORDER BY exception.position`,
    );
    this.unlease = database.prepare(
      `UPDATE exception SET leased = 0, due_at = ? WHERE subscription = ${id} AND due_at IS NOT NULL AND leased = 1`,
    );
    // Neither nacked nor expired, so it counts as no attempt.
    this.endLeases = database.prepare(
      `UPDATE exception SET leased = 0, due_at = ?, attempts = attempts - 1 WHERE subscription = ${id} AND due_at IS NOT NULL AND leased = 1`,
    );
    this.nextDue = database.prepare(
      `SELECT min(due_at) AS dueAt FROM exception WHERE subscription = ${id} AND due_at > ? AND leased = 0 HAVING count(*) > 0`,
    );
    const open = `FROM exception INDEXED BY exception_open ${held} WHERE subscription = ${id} AND due_at IS NOT NULL`;
    // What was removed meanwhile waits for nothing.
    this.firstWaiting = database.prepare(`SELECT position ${open} ORDER BY exception.position LIMIT 1`);
    this.waitingTo = database.prepare(
      `SELECT exception.position, ordering_key AS key ${open} AND leased = 0 AND exception.position <= ? ORDER BY exception.position`,
    );
    this.put = database.prepare(
      `INSERT OR REPLACE INTO exception (subscription, position, attempts, deaths, due_at, leased) VALUES (${id}, ?, ?, ?, ?, ?)`,
    );
    this.forget = database.prepare(`DELETE FROM exception WHERE subscription = ${id} AND position <= ?`);
    this.unsettle = database.prepare(`DELETE FROM exception WHERE subscription = ${id} AND due_at IS NULL`);
    this.cursor = database.prepare(`SELECT cursor FROM subscription WHERE id = ${id}`);
    this.move = database.prepare(`UPDATE subscription SET cursor = ? WHERE id = ${id}`);
    this.firstUnsettled = database.prepare(
      `${lanes} SELECT min((SELECT published_at FROM batch
         WHERE ${ofLane.replace('?', `(SELECT cursor FROM subscription WHERE id = ${id})`)} ORDER BY last LIMIT 1)) AS at FROM lanes`,
    );
    this.backlog = database.prepare(
      `${lanes} SELECT (SELECT coalesce(sum(min(count, last - ?1)), 0) FROM lanes CROSS JOIN batch WHERE ${ofLane.replace('?', '?1')})
       - (SELECT count(*) FROM exception ${held} WHERE subscription = ${id} AND exception.position > ?1 AND due_at IS NULL) AS count`,
    );
  }

  settle(position: number): void {
    this.put.run(position, 0, 0, null, 0);
  }
}
