import { gunzipSync, gzipSync } from 'node:zlib';
import { sha256 } from '@dormouse/core';
import type { Firestore, FirestoreDocument, FirestoreWrite } from './firestore.ts';
import { GoogleError } from './google-error.ts';
import { bytes, bytesOf, type Fields, texts, textsOf } from './value.ts';

/** What is shorter is kept as it is, without a look. In characters, of which each may take three bytes. */
const shortJson = 300_000;
const longText = 50_000;
/** Of one document, with room for its name and what it is not to hold. Source: firebase.google.com/docs/firestore/quotas, 1 MiB. */
const partBytes = 1_000_000;
const maxReads = 5;
const mark = '\u0000long text ';

/** A text that lies beside its document, in so many parts. */
export interface LongText {
  readonly id: string;
  readonly parts: number;
  readonly hash: string;
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
 * Long texts within the JSON of a document, which may be a megabyte: most of all the data of a message that is kept to be sent again,
 * for which Pub/Sub allows ten. They lie at `parts/<id>-<number>`, compressed, are written by the same commit as their document, and removed by the one that
 * writes or deletes it without them; one that stays the same is not written again.
 */
export class LongTexts {
  readonly #firestore: Firestore;
  readonly #newId: () => string;

  constructor(firestore: Firestore, newId: () => string) {
    this.#firestore = firestore;
    this.#newId = newId;
  }

  /** @param before what lies beside the document that this one replaces */
  lay(data: unknown, before: readonly LongText[] = []): Laid {
    const whole = JSON.stringify(data);
    if (whole.length < shortJson) return { json: whole, long: [], field: {}, writes: removing(before) };
    const long: LongText[] = [];
    const writes: FirestoreWrite[] = [];
    const json = JSON.stringify(data, (_name, value) => {
      if (typeof value !== 'string' || value.length < longText) return value;
      const hash = sha256(value);
      const same = before.find((each) => each.hash === hash);
      const laid = same ?? this.#written(value, hash, writes);
      long.push(laid);
      return mark + laid.id;
    });
    const gone = before.filter((each) => !long.includes(each));
    const field: Fields = long.length === 0 ? {} : { parts: { arrayValue: texts(long.map(told)) } };
    return { json, long, field, writes: [...writes, ...removing(gone)] };
  }

  #written(value: string, hash: string, writes: FirestoreWrite[]): LongText {
    // Of base64, most of what it is made of, even the fastest way leaves only what it stands for.
    const packed = gzipSync(value, { level: 1 });
    const id = this.#newId();
    let parts = 0;
    for (let at = 0; at < packed.length; at += partBytes) {
      writes.push({
        kind: 'update',
        path: partPath(id, parts++),
        precondition: { exists: false },
        fields: { bytes: bytes(packed.subarray(at, at + partBytes)) },
      });
    }
    return { id, parts, hash };
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

/** The deletes of what lay beside a document. */
export function removing(long: readonly LongText[]): FirestoreWrite[] {
  return long.flatMap(pathsOf).map((path) => ({ kind: 'delete', path }));
}

/** By the document alone, which knows no hashes. */
export function beside(document: FirestoreDocument | undefined): LongText[] {
  if (!document?.fields.parts) return [];
  return textsOf(document.fields.parts).map((each) => {
    const [id, parts] = each.split(' ');
    return { id: id!, parts: Number(parts), hash: '' };
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

function told({ id, parts }: LongText): string {
  return `${id} ${parts}`;
}

function pathsOf({ id, parts }: LongText): string[] {
  return Array.from({ length: parts }, (_, number) => partPath(id, number));
}

function partPath(id: string, number: number): string {
  return `parts/${id}-${number}`;
}
