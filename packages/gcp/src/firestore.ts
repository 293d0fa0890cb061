import { GoogleError } from './google-error.ts';
import type { GoogleRest } from './google-rest.ts';
import type { Fields, Value } from './value.ts';

export const firestoreUrl = 'https://firestore.googleapis.com';

export interface FirestoreOptions {
  readonly project: string;
  /** Default `(default)`. */
  readonly database?: string;
  readonly rest: GoogleRest;
}

export interface FirestoreDocument {
  /** Below the database's root: `workflows/WF-1`. */
  readonly path: string;
  readonly fields: Fields;
  readonly updateTime: string;
}

/** What must hold of a document for the commit to happen: its last change, or that there is none. */
export type Precondition = { readonly updateTime: string } | { readonly exists: boolean };

interface Transform {
  readonly fieldPath: string;
  readonly increment?: Value;
  readonly minimum?: Value;
  readonly appendMissingElements?: { readonly values: readonly Value[] };
  readonly removeAllFromArray?: { readonly values: readonly Value[] };
}

/** What became of a write. */
export interface WriteResult {
  /** None of what was deleted. */
  readonly updateTime?: string;
  /** Of each transform, in their order; of numbers, what they are now. */
  readonly transformResults?: readonly Value[];
}

/** One of google.firestore.v1.Write. */
export type FirestoreWrite = { readonly path: string; readonly precondition?: Precondition | undefined } & (
  | { readonly kind: 'verify'; readonly precondition: Precondition }
  | { readonly kind: 'delete' }
  | {
      readonly kind: 'update';
      readonly fields: Fields;
      /** Only these are touched; those of them without a value are removed. Default: the whole document is replaced. */
      readonly mask?: readonly string[];
      readonly transforms?: readonly Transform[];
    }
);

export interface Query {
  /** The document above the collection. Default: the root. */
  readonly parent?: string;
  readonly collection: string;
  /** Also deeper ones of that name. */
  readonly allDescendants?: boolean;
  readonly where?: readonly { readonly field: string; readonly op: string; readonly value: Value }[];
  readonly orderBy: readonly { readonly field: string; readonly direction?: 'ASCENDING' | 'DESCENDING' }[];
  /** The place after which it goes on: a value for each field of the order. */
  readonly startAfter?: readonly (Value | { readonly path: string })[];
  readonly limit: number;
  /** Only these fields. None: only where they are. Default: all. */
  readonly select?: readonly string[];
}

/**
 * Firestore's v1 API over REST. Also what writes may be sent again: by its preconditions a commit happens once.
 * Source: google/firestore/v1/firestore.proto.
 */
export class Firestore {
  readonly #rest: GoogleRest;
  readonly #root: string;

  constructor({ project, database = '(default)', rest }: FirestoreOptions) {
    this.#rest = rest;
    this.#root = `projects/${project}/databases/${database}/documents`;
  }

  /** In the order asked; undefined where there is none. @param select only these fields. Default: all */
  async get(paths: readonly string[], select?: readonly string[]): Promise<(FirestoreDocument | undefined)[]> {
    if (paths.length === 0) return [];
    const answers = await this.#call<{ found?: Raw; missing?: string }[]>('batchGet', {
      documents: [...new Set(paths)].map((path) => this.#name(path)),
      ...(select && { mask: { fieldPaths: select } }),
    });
    const told = new Map<string, FirestoreDocument | undefined>();
    for (const { found, missing } of answers) {
      if (found) told.set(this.#pathOf(found.name), this.#document(found));
      else if (missing !== undefined) told.set(this.#pathOf(missing), undefined);
    }
    // A stream that ends early must not make documents look absent.
    const left = paths.find((path) => !told.has(path));
    if (left !== undefined) throw endedEarly('batchGet', answers);
    return paths.map((path) => told.get(path));
  }

  async query(query: Query): Promise<FirestoreDocument[]> {
    const { parent, collection, allDescendants, where = [], orderBy, startAfter, limit, select } = query;
    const filters = where.map(({ field, op, value }) => ({ fieldFilter: { field: { fieldPath: field }, op, value } }));
    // Without any field Firestore takes it for all of them.
    const selected = select?.length === 0 ? ['__name__'] : select;
    const structuredQuery = {
      ...(selected && { select: { fields: selected.map((fieldPath) => ({ fieldPath })) } }),
      from: [{ collectionId: collection, ...(allDescendants && { allDescendants }) }],
      ...(filters.length > 0 && { where: { compositeFilter: { op: 'AND', filters } } }),
      orderBy: orderBy.map(({ field, direction = 'ASCENDING' }) => ({ field: { fieldPath: field }, direction })),
      ...(startAfter && {
        startAt: {
          values: startAfter.map((value) => ('path' in value ? { referenceValue: this.#name(value.path) } : value)),
          before: false,
        },
      }),
      limit,
    };
    const answers = await this.#call<{ document?: Raw; error?: unknown }[]>('runQuery', { structuredQuery }, parent);
    if (answers.some(({ error }) => error)) throw endedEarly('runQuery', answers);
    return answers.flatMap(({ document }) => (document ? [this.#document(document)] : []));
  }

  /** All or nothing. What became of each write, in their order. */
  async commit(writes: readonly FirestoreWrite[]): Promise<readonly WriteResult[]> {
    const { writeResults = [] } = await this.#call<{ writeResults?: WriteResult[] }>('commit', {
      writes: writes.map((write) => this.#raw(write)),
    });
    return writeResults;
  }

  #raw(write: FirestoreWrite): unknown {
    const currentDocument = write.precondition && { currentDocument: write.precondition };
    const name = this.#name(write.path);
    if (write.kind === 'verify') return { verify: name, ...currentDocument };
    if (write.kind === 'delete') return { delete: name, ...currentDocument };
    return {
      update: { name, fields: write.fields },
      ...(write.mask && { updateMask: { fieldPaths: write.mask } }),
      ...(write.transforms && { updateTransforms: write.transforms }),
      ...currentDocument,
    };
  }

  #name(path: string): string {
    return `${this.#root}/${path}`;
  }

  #pathOf(name: string): string {
    return name.slice(this.#root.length + 1);
  }

  #document({ name, fields = {}, updateTime }: Raw): FirestoreDocument {
    return { path: this.#pathOf(name), fields, updateTime };
  }

  #call<T>(method: string, json: unknown, parent?: string): Promise<T> {
    // An id with a percent sign is no encoding of another: it is encoded once more for the address.
    const at = parent === undefined ? '' : `/${parent.split('/').map(encodeURIComponent).join('/')}`;
    return this.#rest.json<T>({ method: 'POST', path: `/v1/${this.#root}${at}:${method}`, json });
  }
}

interface Raw {
  readonly name: string;
  readonly fields?: Fields;
  readonly updateTime: string;
}

function endedEarly(method: string, answers: readonly unknown[]): GoogleError {
  const { error } = (answers.at(-1) ?? {}) as { error?: { message?: string } };
  return new GoogleError('UNAVAILABLE', `${method} ended early: ${error?.message ?? 'no reason told'}`, { code: 200 });
}
