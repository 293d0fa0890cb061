import { canonicalJson } from './canonical-json.ts';
import type { Random } from './clock.ts';
import { DormouseError } from './errors.ts';
import { hmacSha256 } from './ids.ts';
import { idOf, type Ref, refOf } from './state-store.ts';

/**
 * How a personal document lies in the store: its value, and the salt without which its commitment tells nothing of it.
 * Its chain holds the commitment, in each entry a new one; erasing deletes value and salt, and the chain still verifies.
 */
export interface Sealed {
  readonly personal: Readonly<Record<string, unknown>>;
  /** 32 random bytes, in hex. */
  readonly salt: string;
}

/** By the log, what a personal document is once it was erased: nothing may be there. */
export const erasedMark: Readonly<Record<string, unknown>> = { erased: true };

const saltBytes = 32;

export function newSalt(random: Random): string {
  return Buffer.from(random.bytes(saltBytes)).toString('hex');
}

export function sealed(value: Record<string, unknown>, salt: string): Record<string, unknown> {
  return { personal: value, salt } satisfies Sealed;
}

export function isSealed(data: Record<string, unknown>): data is Record<string, unknown> & Sealed {
  const { personal, salt } = data;
  return (
    typeof salt === 'string' && typeof personal === 'object' && personal !== null && Object.keys(data).length === 2
  );
}

/** The value of a document as it lies in the store, personal or not. */
export function opened<T extends Record<string, unknown> | null>(data: T): T {
  return data !== null && isSealed(data) ? (data.personal as T) : data;
}

/**
 * What of a personal document enters its chain; null where there is none, or one that was written before there were chains
 * of them. Who has the value cannot tell without the salt that it is this one; who has both can show no other value.
 */
export function commitmentOf(data: Record<string, unknown> | null): Record<string, unknown> | null {
  if (data === null || !isSealed(data)) return null;
  return { commitment: hmacSha256(data.salt, canonicalJson(data.personal)) };
}

export function isCommitment(document: Record<string, unknown> | null): boolean {
  return typeof document?.commitment === 'string' && Object.keys(document).length === 1;
}

/** A document that exists once the personal data of a workflow was erased: none may come to be there again. */
export function erasedRef(workflow: Ref): Ref {
  return refOf('erased', idOf(workflow));
}

export function refuseErased(workflow: Ref): never {
  throw new DormouseError(
    'personal.erased',
    `the personal data of "${idOf(workflow)}" was erased; what needs it cannot be done any more`,
  );
}

/** Where all personal files of a workflow are, also those that no document names. */
export function personalFilesOf(workflow: Ref): string {
  return `${idOf(workflow)}/personal/`;
}

/** Where all results of its personal activities are. */
export function personalActivitiesOf(workflow: Ref): Ref {
  return `${refOf('activities', idOf(workflow))}/personal`;
}
