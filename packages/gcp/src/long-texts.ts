import { gunzipSync, gzipSync } from 'node:zlib';
import { sha256 } from '@dormouse/core';
import type { Firestore, FirestoreDocument, FirestoreWrite } from './firestore.ts';
import { GoogleError } from './google-error.ts';
import { bytes, bytesOf, type Fields, texts, textsOf, time } from './value.ts';

/** What is shorter is kept as it is, without a look. In characters, of which each may take three bytes. */
const shortJson = 300_000;
const longText = 50_000;
/** Of one document, with room for its name and what it is not to hold. Source: firebase.google.com/docs/firestore/quotas, 1 MiB. */
const partBytes = 1_000_000;
const maxReads = 20;
/** Firestore deletes what has expired within a day or more, in any order; a document without its parts could not be read. */
const partsOutliveMs = 30 * 86_400_000;
const mark = '\u0000long text ';

/** A text that lies beside its document, in so many parts. */
export interface LongText {
  readonly id: string;
  readonly parts: number;
  /** In characters. */
  readonly length: number;
  readonly hash: string;
  /** Its document does. */
  readonly expires: boolean;
}

/** A document, what it says, and what of that lies beside it. */
export interface Read {
  readonly document: FirestoreDocument;
  readonly data: unknown;
  readonly long: readonly LongText[];
}

/** What a document holds of some data, and what else is to be written with it. */
export interface Laid {
  readonly json: string;
  readonly long: readonly LongText[];
  /** Of `long`; none where there is none. */
  readonly field: Fields;
  readonly writes: readonly FirestoreWrite[];
}

/**
 * Long texts within the JSON of a document, which may be a megabyte: most of all the data of a message that is kept to be sent
 * again, for which Pub/Sub allows ten. They lie at `parts/<id>-<number>`, compressed, are written by the same commit as their
 * document, and removed by the one that writes or deletes it without them; one that stays the same is not written again.
 */
export class LongTexts {
  readonly #firestore: Firestore;
  readonly #newId: () => string;

  constructor(firestore: Firestore, newId: () => string) {
    this.#firestore = firestore;
    this.#newId = newId;
  }

  /**
   * @param before what lies beside the document that this one replaces
   * @param expireAt when the document expires, and its parts after it. Default: not
   */
  lay(data: unknown, before: readonly LongText[] = [], expireAt?: number): Laid {
    const whole = JSON.stringify(data);
    if (whole.length < shortJson) return { json: whole, long: [], field: {}, writes: removing(before) };
    const long: LongText[] = [];
    const writes: FirestoreWrite[] = [];
    const json = JSON.stringify(data, (_name, value) => {
      if (typeof value !== 'string' || value.length < longText) return value;
      const hash = sha256(value);
      const isSame = (each: LongText) => each.hash === hash;
      if (!long.some(isSame)) {
        const same = before.find(isSame);
        long.push(same ? kept(same, expireAt, writes) : this.#written(value, hash, expireAt, writes));
      }
      return mark + long.find(isSame)!.id;
    });
    const gone = before.filter(({ id }) => !long.some((each) => each.id === id));
    const field: Fields = long.length === 0 ? {} : { parts: { arrayValue: texts(long.map(told)) } };
    return { json, long, field, writes: [...writes, ...removing(gone)] };
  }

  #written(value: string, hash: string, expireAt: number | undefined, writes: FirestoreWrite[]): LongText {
    // Of base64, most of what it is made of, even the fastest way leaves only what it stands for.
    const packed = gzipSync(value, { level: 1 });
    const id = this.#newId();
    let parts = 0;
    for (let at = 0; at < packed.length; at += partBytes) {
      writes.push({
        kind: 'update',
        path: partPath(id, parts++),
        precondition: { exists: false },
        fields: { bytes: bytes(packed.subarray(at, at + partBytes)), ...expiry(expireAt) },
      });
    }
    return { id, parts, length: value.length, hash, expires: expireAt !== undefined };
  }

  /** Documents with all that they say, by the field that has their JSON. One that is gone meanwhile is undefined. */
  async read(
    documents: readonly (FirestoreDocument | undefined)[],
    textOf: (fields: Fields) => string,
  ): Promise<(Read | undefined)[]> {
    let found = [...documents];
    for (let reads = 1; ; reads++) {
      const paths = found.flatMap((document) => beside(document).flatMap(pathsOf));
      if (paths.length === 0) return found.map((document) => document && shortOf(document, textOf));
      const parts = new Map((await this.#firestore.get(paths)).map((part, index) => [paths[index]!, part]));
      const moved = found.filter((document) =>
        beside(document)
          .flatMap(pathsOf)
          .some((path) => !parts.get(path)),
      );
      if (moved.length === 0) return found.map((document) => document && wholeOf(document, textOf, parts));
      if (reads === maxReads) throw new GoogleError('UNAVAILABLE', 'a document moved with every read', { code: 0 });
      // It was written anew between the two reads, and its parts are others.
      const anew = await this.#firestore.get(moved.map((document) => document!.path));
      found = found.map((document) => (moved.includes(document) ? anew[moved.indexOf(document)] : document));
    }
  }
}

/** It is not written again; only whether it expires may be another. */
function kept(same: LongText, expireAt: number | undefined, writes: FirestoreWrite[]): LongText {
  const expires = expireAt !== undefined;
  if (expires || same.expires) {
    const changed = {
      kind: 'update',
      precondition: { exists: true },
      mask: ['expireAt'],
      fields: expiry(expireAt),
    } as const;
    writes.push(...pathsOf(same).map((path) => ({ ...changed, path })));
  }
  return { ...same, expires };
}

function expiry(expireAt: number | undefined): Fields {
  return expireAt === undefined ? {} : { expireAt: time(expireAt + partsOutliveMs) };
}

/** The deletes of what lay beside a document. */
export function removing(long: readonly LongText[]): FirestoreWrite[] {
  return long.flatMap(pathsOf).map((path) => ({ kind: 'delete', path }));
}

/** By the document alone, which knows no hashes. */
export function beside(document: FirestoreDocument | undefined): LongText[] {
  if (!document?.fields.parts) return [];
  return textsOf(document.fields.parts).map((each) => {
    const [id, parts, length] = each.split(' ');
    const expires = document.fields.expireAt !== undefined;
    return { id: id!, parts: Number(parts), length: Number(length), hash: '', expires };
  });
}

function shortOf(document: FirestoreDocument, textOf: (fields: Fields) => string): Read {
  return { document, data: JSON.parse(textOf(document.fields)), long: [] };
}

function wholeOf(
  document: FirestoreDocument,
  textOf: (fields: Fields) => string,
  parts: ReadonlyMap<string, FirestoreDocument | undefined>,
): Read {
  const found = new Map<string, string>();
  const long = beside(document).map((each) => {
    const packed = Buffer.concat(pathsOf(each).map((path) => bytesOf(parts.get(path)!.fields.bytes)));
    const value = gunzipSync(packed).toString();
    found.set(mark + each.id, value);
    return { ...each, hash: sha256(value) };
  });
  const data = JSON.parse(textOf(document.fields), (_name, value) => found.get(value) ?? value);
  return { document, data, long };
}

function told({ id, parts, length }: LongText): string {
  return `${id} ${parts} ${length}`;
}

function pathsOf({ id, parts }: LongText): string[] {
  return Array.from({ length: parts }, (_, number) => partPath(id, number));
}

function partPath(id: string, number: number): string {
  return `parts/${id}-${number}`;
}
