import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';
import { lanesOf, smallBytes } from './log.ts';

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

/** A row of `scan`. `data` is null where it is not small. */
export type Scanned = readonly [
  position: number,
  id: string,
  publishedAt: number,
  orderingKey: string | null,
  attributes: string,
  data: Uint8Array | null,
];

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
  /** How far so many rows of a lane go. */
  readonly reach: StatementSync;
  /** Those of a lane that are not excepted. */
  readonly scan: StatementSync;
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
    const ofLane = `topic = ${topicId} AND message.lane = lanes.lane AND message.position > ?`;
    const beside = `LEFT JOIN exception ON exception.subscription = ${id} AND exception.position = message.position`;
    const excepted = `exception.position IS NOT NULL AS excepted`;
    this.lanes = database.prepare(
      `${lanes} SELECT lane FROM lanes WHERE EXISTS (SELECT 1 FROM message WHERE ${ofLane})`,
    );
    this.reach = database.prepare(
      `SELECT position FROM message WHERE topic = ${topicId} AND lane = ? AND position > ? AND position <= ? ORDER BY position LIMIT 1 OFFSET ?`,
    );
    // What is excepted is passed over in the index: a restart meets all that waits, and read row by row that takes ten times as long.
    this.scan = database.prepare(
      `SELECT position, id, published_at, ordering_key, attributes, CASE WHEN length(data) <= ${smallBytes} THEN data END
       FROM message WHERE topic = ${topicId} AND lane = ? AND position > ? AND position <= ?
         AND NOT EXISTS (SELECT 1 FROM exception WHERE subscription = ${id} AND exception.position = message.position)
       ORDER BY position`,
    );
    // Every message passes here: as objects, its rows take half as long again.
    this.scan.setReturnArrays(true);
    this.ofKey = database.prepare(
      `SELECT message.position, published_at AS publishedAt, lane, attributes, ${excepted},
         coalesce(attempts, 0) AS attempts, coalesce(deaths, 0) AS deaths,
         CASE leased WHEN 0 THEN due_at END AS dueAt, exception.position IS NOT NULL AND due_at IS NULL AS settled FROM message ${beside}
       WHERE topic = ${topicId} AND ordering_key = ? AND message.position > ? AND message.position <= ? ORDER BY message.position`,
    );
    this.due = database.prepare(
      `SELECT exception.position, due_at AS dueAt, attempts, deaths, lane, ordering_key AS key, published_at AS publishedAt
       FROM exception CROSS JOIN message USING (position)
       WHERE subscription = ${id} AND due_at <= ? AND leased = 0 AND (due_at, exception.position) > (?, ?) ORDER BY due_at, exception.position`,
    );
    this.leased = database.prepare(
      `SELECT exception.position, attempts, deaths, due_at AS dueAt, lane FROM exception JOIN message USING (position)
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
    const open = `FROM exception INDEXED BY exception_open CROSS JOIN message USING (position) WHERE subscription = ${id} AND due_at IS NOT NULL`;
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
      `${lanes} SELECT min((SELECT published_at FROM message
         WHERE ${ofLane.replace('?', `(SELECT cursor FROM subscription WHERE id = ${id})`)} ORDER BY position LIMIT 1)) AS at FROM lanes`,
    );
    this.backlog = database.prepare(
      `${lanes} SELECT count(*) AS count FROM lanes CROSS JOIN message WHERE ${ofLane} AND NOT EXISTS
       (SELECT 1 FROM exception WHERE subscription = ${id} AND exception.position = message.position AND due_at IS NULL)`,
    );
  }

  settle(position: number): void {
    this.put.run(position, 0, 0, null, 0);
  }
}
