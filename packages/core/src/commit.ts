import { ConflictError } from './errors.ts';
import type { Committed, UnitOfWork } from './state-store.ts';
import type { StepPorts } from './step.ts';

/** Units that meet only in a chain's head all get in, one with each try. */
const maxTries = 100;

/**
 * Commits a unit, and sends what it publishes before the caller answers: afterwards a process may be given no CPU. Where only
 * the head of a chain has moved nothing the handler saw is different, so the same unit is committed again.
 * @throws ConflictError where a document that was read has moved, and whatever else `StateStore.commit` throws
 */
export async function commitUnit(
  { store, relay }: Pick<StepPorts, 'store' | 'relay'>,
  unit: UnitOfWork,
): Promise<Committed> {
  for (let tries = 1; ; tries++) {
    try {
      const committed = await store.commit(unit);
      await relay?.send(committed.unsent);
      return committed;
    } catch (error) {
      if (error instanceof ConflictError && error.moved.length === 0 && tries < maxTries) continue;
      throw error;
    }
  }
}
