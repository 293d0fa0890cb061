import { idOf, type Ref, refOf } from './state-store.ts';

/** What retention has removed of a workflow, so that nobody takes it for what never was. */
export interface Removed {
  /** Failed attempts before this time are not on record any more. Epoch milliseconds. */
  readonly journalBefore?: number;
  /** Its files were removed then. */
  readonly filesAt?: number;
}

export function removedRef(workflow: Ref): Ref {
  return refOf('removed', idOf(workflow));
}
