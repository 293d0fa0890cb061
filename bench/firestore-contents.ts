import { type FirestoreIndexes, firestoreIndexes, type GoogleRest } from '@dormouse/gcp';

/** What lies in a database, as Firestore bills it. */
export interface Contents {
  readonly documents: number;
  /** With the entries of their indexes. */
  readonly bytes: number;
  /** Documents that will be deleted when their time has come. */
  readonly expiring: number;
}

interface Document {
  readonly name: string;
  readonly fields?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** Source of all sizes: firebase.google.com/docs/firestore/storage-size. */
const overheadBytes = 32;
/** No more of a value is indexed. Source: firebase.google.com/docs/firestore/quotas. */
const mostIndexedBytes = 1_500;
const pageSize = 300;

/** All documents of a project's database, whatever collection they are in. */
export async function firestoreContents(rest: GoogleRest, project: string): Promise<Contents> {
  const root = `projects/${project}/databases/(default)/documents`;
  const indexes = firestoreIndexes();
  const total = { documents: 0, bytes: 0, expiring: 0 };
  for (let last: string | undefined; ; ) {
    const startAt = last === undefined ? {} : { startAt: { values: [{ referenceValue: last }], before: false } };
    const orderBy = [{ field: { fieldPath: '__name__' }, direction: 'ASCENDING' }];
    const structuredQuery = { from: [{ allDescendants: true }], orderBy, ...startAt, limit: pageSize };
    const answers = await rest.json<{ document?: Document }[]>({
      method: 'POST',
      path: `/v1/${root}:runQuery`,
      json: { structuredQuery },
    });
    const found = answers.flatMap(({ document }) => (document ? [document] : []));
    for (const document of found) {
      total.documents++;
      total.bytes += bytesOf(document, root, indexes);
      if (document.fields?.expireAt) total.expiring++;
    }
    if (found.length < pageSize) return total;
    last = found.at(-1)!.name;
  }
}

function bytesOf({ name, fields = {} }: Document, root: string, indexes: FirestoreIndexes): number {
  const path = name.slice(root.length + 1).split('/');
  const [nameBytes, parentBytes] = [nameSize(path), path.length > 2 ? nameSize(path.slice(0, -2)) : 0];
  const collection = path.at(-2)!;
  const sizes = new Map(Object.entries(fields).map(([field, value]) => [field, valueSize(value)]));
  const document = [...sizes].reduce((sum, [field, size]) => sum + stringSize(field) + size, nameBytes + overheadBytes);
  const entry = nameBytes + parentBytes + overheadBytes;
  const overridden = indexes.fieldOverrides.filter(({ collectionGroup }) => collectionGroup === collection);
  let entries = 0;
  for (const [field, size] of sizes) {
    const of =
      overridden.find(({ fieldPath }) => fieldPath === field) ?? overridden.find(({ fieldPath }) => fieldPath === '*');
    // By itself Firestore indexes every field twice: up and down.
    entries += (of?.indexes.length ?? 2) * (entry + stringSize(field) + Math.min(size, mostIndexedBytes));
  }
  for (const { collectionGroup, fields: indexed } of indexes.indexes) {
    if (collectionGroup !== collection || !indexed.every(({ fieldPath }) => sizes.has(fieldPath))) continue;
    entries += indexed.reduce((sum, { fieldPath }) => sum + Math.min(sizes.get(fieldPath)!, mostIndexedBytes), entry);
  }
  return document + entries;
}

function nameSize(path: readonly string[]): number {
  return path.reduce((sum, part) => sum + stringSize(part), 16);
}

function stringSize(text: string): number {
  return Buffer.byteLength(text) + 1;
}

function valueSize(value: Readonly<Record<string, unknown>>): number {
  if ('stringValue' in value) return stringSize(String(value.stringValue));
  if ('bytesValue' in value) return Buffer.byteLength(String(value.bytesValue), 'base64');
  if ('arrayValue' in value) {
    const { values = [] } = value.arrayValue as { readonly values?: readonly Record<string, unknown>[] };
    return values.reduce((sum, each) => sum + valueSize(each), 0);
  }
  // Integers and times.
  return 8;
}
