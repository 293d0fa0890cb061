import { DormouseError } from '@dormouse/core';
import type { FirestoreWrite } from './firestore.ts';
import { GoogleError } from './google-error.ts';
import type { Value } from './value.ts';

/** Source: firebase.google.com/docs/firestore/quotas: a document, a commit. 500 writes a commit was a limit, and is kept as one. */
const mostDocumentBytes = 1_048_576;
const mostCommitBytes = 10_485_760;
const mostWrites = 500;
/**
 * Source: what Firestore says of one above it, "Request payload size exceeds the limit: 11534336 bytes"; some of it is left for
 * the rest of the request.
 */
const mostRequestBytes = 11_500_000;
/** Bytes are a third longer in JSON, and texts may be twice as long: below this, none is too long. */
const surelyShortBytes = 5_000_000;

const remedy = 'do less in one step, and keep what is large in a file, with step.files.put';

/** @throws DormouseError `store.limit`, before anything is written */
export function checkLimits(writes: readonly FirestoreWrite[]): void {
  if (writes.length > mostWrites) {
    throw tooMuch(`it takes ${writes.length} writes, at most ${mostWrites} fit one commit`, 'do less in one step');
  }
  let all = 0;
  for (const write of writes) {
    const bytes = write.path.length + (write.kind === 'update' ? bytesOf(Object.entries(write.fields)) : 0);
    if (bytes > mostDocumentBytes) {
      throw tooMuch(
        `"${write.path}" has ${bytes} bytes, at most ${mostDocumentBytes} fit one document`,
        'keep what is large in a file, with step.files.put',
      );
    }
    all += bytes;
  }
  if (all > mostCommitBytes) {
    throw tooMuch(`it writes ${all} bytes, at most ${mostCommitBytes} fit one commit`, remedy);
  }
  const requestBytes = all < surelyShortBytes ? all : Buffer.byteLength(JSON.stringify(writes));
  if (requestBytes > mostRequestBytes) {
    throw tooMuch(`its request has ${requestBytes} bytes, at most ${mostRequestBytes} fit`, remedy);
  }
}

/** The same, where it is Firestore that says so: an emulator takes less. */
export function limitOf(error: unknown): DormouseError | undefined {
  if (!(error instanceof GoogleError) || !/exceeds (the )?(maximum|limit)|too large/i.test(error.message)) return;
  return new DormouseError('store.limit', `the unit is larger than this Firestore commits at once: ${error.message}`, {
    cause: error,
  });
}

/** By the rules of Firestore: names and texts by their UTF-8 bytes and one, numbers and times eight. */
function bytesOf(fields: readonly (readonly [string, Value])[]): number {
  return fields.reduce((sum, [name, value]) => sum + name.length + 1 + valueBytes(value), 32);
}

function valueBytes(value: Value): number {
  if ('stringValue' in value) return Buffer.byteLength(value.stringValue) + 1;
  if ('bytesValue' in value) return value.bytesValue.length * 0.75;
  if ('arrayValue' in value) return (value.arrayValue.values ?? []).reduce((sum, each) => sum + valueBytes(each), 0);
  return 8;
}

function tooMuch(what: string, remedy: string): DormouseError {
  return new DormouseError('store.limit', `the unit is larger than Firestore commits at once: ${what}; ${remedy}`);
}
