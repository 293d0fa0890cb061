import type { Ref, UnitOfWork, Versioned } from '@dormouse/core';
import type { FirestoreDocument } from './firestore.ts';
import { beside, type LongText } from './long-texts.ts';
import { textOf } from './value.ts';

/** How a document stands, as far as this process knows. */
export interface Known extends Pick<Versioned, 'version' | 'tenant'> {
  /** What lies beside it. */
  readonly long: readonly LongText[];
  /** What it says, of one that this process has written itself and that is short. */
  readonly json?: string | undefined;
}

const remembered = 5_000;
const rememberedWhole = 200;
/** In characters. */
const longJson = 20_000;
const nothing: Known = { version: null, tenant: null, long: [] };

/**
 * What this process has read and written lately. Others write too, so all of it may be out of date: no commit goes by it without its version
 * as a precondition.
 */
export class KnownDocuments {
  readonly #known = new Map<Ref, Known>();
  /** Of those, the ones whose `json` is there. */
  readonly #whole = new Set<Ref>();

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
    if (document && known?.json !== undefined && !isLater(document.updateTime, known.version!)) return;
    const version = document?.updateTime ?? null;
    this.#remember(ref, { version, tenant: document ? textOf(document.fields.tenant) : null, long });
  }

  written(ref: Ref, { version, tenant, long = [], json = '' }: Omit<Known, 'long'> & Partial<Known>): void {
    const isShort = version !== null && long.length === 0 && json.length < longJson;
    this.#remember(ref, { version, tenant: version === null ? null : tenant, long, ...(isShort && { json }) });
    if (!isShort) return;
    this.#whole.add(ref);
    if (this.#whole.size <= rememberedWhole) return;
    const [oldest] = this.#whole;
    this.#whole.delete(oldest!);
    const { json: _, ...rest } = this.#known.get(oldest!)!;
    this.#known.set(oldest!, rest);
  }

  /** Those of them that this process has written since they were read, as they are now. */
  overtaking(reads: UnitOfWork['reads']): Versioned[] {
    return reads.flatMap(({ ref, version }) => {
      const known = this.#known.get(ref);
      if (known?.json === undefined || (version !== null && !isLater(known.version!, version))) return [];
      return [{ ref, version: known.version, tenant: known.tenant, data: JSON.parse(known.json) }];
    });
  }

  #remember(ref: Ref, known: Known): void {
    this.#known.delete(ref);
    this.#whole.delete(ref);
    this.#known.set(ref, known);
    if (this.#known.size <= remembered) return;
    const oldest = this.#known.keys().next().value!;
    this.#known.delete(oldest);
    this.#whole.delete(oldest);
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
