import type { Ref, UnitOfWork, Versioned } from '@dormouse/core';
import type { FirestoreDocument } from './firestore.ts';
import { beside, type LongText } from './long-texts.ts';
import { Recent } from './recent.ts';
import { textOf } from './value.ts';

/** How a document stands, as far as this process knows. */
export interface Known extends Pick<Versioned, 'version' | 'tenant'> {
  /** What lies beside it. */
  readonly long: readonly LongText[];
  /** This process has written it so. */
  readonly isOwn?: boolean;
}

const mostKnown = 5_000;
const nothing: Known = { version: null, tenant: null, long: [] };

/**
 * What this process has read and written lately. Others write too, so all of it may be out of date: no commit goes by it without its version
 * as a precondition.
 */
export class KnownDocuments {
  readonly #known = new Recent<Ref, Known>(mostKnown);

  /** As it was last known, or as one that is not there. */
  of(ref: Ref): Known {
    return this.#known.get(ref) ?? nothing;
  }

  /** Whether it is known at this version. */
  isKnown(ref: Ref, version: string | null): boolean {
    return this.#known.get(ref)?.version === version;
  }

  /** An answer may be older than what this process has written meanwhile. */
  found(ref: Ref, document: FirestoreDocument | undefined, long: readonly LongText[] = beside(document)): void {
    const known = this.#known.get(ref);
    if (document && known?.isOwn && !isLater(document.updateTime, known.version!)) return;
    const version = document?.updateTime ?? null;
    this.#known.set(ref, { version, tenant: document ? textOf(document.fields.tenant) : null, long });
  }

  written(ref: Ref, { version, tenant, long = [] }: Pick<Known, 'version' | 'tenant'> & Partial<Known>): void {
    this.#known.set(ref, version === null ? nothing : { version, tenant, long, isOwn: true });
  }

  /** Those of them that this process has written since they were read. */
  overtaking(reads: UnitOfWork['reads']): Ref[] {
    return reads.flatMap(({ ref, version }) => {
      const known = this.#known.get(ref);
      return known?.isOwn && (version === null || isLater(known.version!, version)) ? [ref] : [];
    });
  }
}

/** Times of Firestore's, in the form of RFC 3339 and UTC, with as many digits of a second as there are. */
function isLater(time: string, other: string): boolean {
  return comparable(time) > comparable(other);
}

function comparable(time: string): string {
  const [second, fraction = ''] = time.replace('Z', '').split('.');
  return `${second}.${fraction.padEnd(9, '0')}`;
}
