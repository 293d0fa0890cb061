import { ConflictError } from './errors.ts';
import type { Committed, UnitOfWork } from './state-store.ts';
import type { StepPorts } from './step.ts';

/** Units that meet only in a chain's head all get in, one with each try. */
const maxTries = 100;

/** What a commit needs. */
export type Committing = Pick<StepPorts, 'store' | 'relay' | 'waker'>;

/**
 * Commits a unit, and before the caller answers sends what it publishes and has its timers looked after: afterwards a process may be given
 * no CPU. Where only the head of a chain has moved nothing the handler saw is different, so the same unit is committed again.
 * @throws ConflictError where a document that was read has moved, and whatever else `StateStore.commit` throws
 */
export async function commitUnit({ store, relay, waker }: Committing, unit: UnitOfWork): Promise<Committed> {
  for (let tries = 1; ; tries++) {
    try {
      const committed = await store.commit(unit);
      const { unsent, hasMore, dueAt } = committed;
      const [isSent] = await Promise.all([relay?.send(unsent), dueAt !== undefined && waker?.wake(dueAt)]);
      if (isSent === false || hasMore) await waker?.expectSent();
      return committed;
    } catch (error) {
      if (error instanceof ConflictError && error.moved.length === 0 && tries < maxTries) continue;
      throw error;
    }
  }
}
