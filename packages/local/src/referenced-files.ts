import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { DatabaseSync } from 'node:sqlite';
import { type FileRef, idOf } from '@dormouse/core';
import { FileBlobStore } from './blob-store.ts';

/** Every file that a document names, once; but for workflows whose files retention has removed. */
export function referencedFiles(database: DatabaseSync): FileRef[] {
  const files = new Map<string, FileRef>();
  const removed = new Set(
    database
      .prepare(`SELECT ref FROM document WHERE collection = 'removed' AND json_extract(data, '$.filesAt') IS NOT NULL`)
      .all()
      .map(({ ref }) => idOf(ref as string)),
  );
  const documents = database.prepare(`SELECT data FROM document WHERE instr(data, '"sha256":') > 0`).iterate();
  for (const row of documents) collect(JSON.parse(row.data as string), files);
  return [...files.values()].filter(({ key }) => !removed.has(key.slice(0, key.indexOf('/'))));
}

export interface FileProblem {
  readonly key: string;
  readonly problem: 'missing' | 'changed';
}

/** What is wrong with the files below a folder: gone, or of another content than their reference says. */
export async function checkFiles(folder: string, files: readonly FileRef[]): Promise<FileProblem[]> {
  const blobs = new FileBlobStore(folder);
  const problems: FileProblem[] = [];
  for (const { key, sha256, bytes } of files) {
    const path = blobs.path(key);
    const found = await stat(path).catch(() => undefined);
    if (!found) problems.push({ key, problem: 'missing' });
    else if (found.size !== bytes || (await hashOfFile(path)) !== sha256) problems.push({ key, problem: 'changed' });
  }
  return problems;
}

export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function collect(value: unknown, into: Map<string, FileRef>): void {
  if (typeof value !== 'object' || value === null) return;
  const { key, sha256, bytes } = value as Partial<FileRef>;
  if (typeof key === 'string' && typeof sha256 === 'string' && typeof bytes === 'number')
    into.set(key, value as FileRef);
  else for (const each of Object.values(value)) collect(each, into);
}
