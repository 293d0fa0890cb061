import { createHash, createHmac } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { DatabaseSync } from 'node:sqlite';
import { type FileRef, idOf, saltKeyOf } from '@dormouse/core';
import { FileBlobStore } from './blob-store.ts';

/** Every file that a document names, once; but for what retention has removed, or somebody had erased. */
export function referencedFiles(database: DatabaseSync): FileRef[] {
  const files = new Map<string, FileRef>();
  const workflowsOf = (query: string) =>
    new Set(
      database
        .prepare(query)
        .all()
        .map(({ ref }) => idOf(ref as string)),
    );
  const removed = workflowsOf(
    `SELECT ref FROM document WHERE collection = 'removed' AND json_extract(data, '$.filesAt') IS NOT NULL`,
  );
  const erased = workflowsOf(`SELECT ref FROM document WHERE collection = 'erased'`);
  const documents = database.prepare(`SELECT data FROM document WHERE instr(data, '"sha256":') > 0`).iterate();
  for (const row of documents) collect(JSON.parse(row.data as string), files);
  return [...files.values()].filter(({ key, personal }) => {
    const workflow = key.slice(0, key.indexOf('/'));
    return !removed.has(workflow) && !(personal && erased.has(workflow));
  });
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
    const saltKey = saltKeyOf({ key });
    const salt = saltKey && (await readFile(blobs.path(saltKey), 'utf8').catch(() => undefined));
    if (!found) problems.push({ key, problem: 'missing' });
    else if (saltKey !== undefined && salt === undefined) problems.push({ key: saltKey, problem: 'missing' });
    else if (found.size !== bytes || (await hashOfFile(path, salt)) !== sha256)
      problems.push({ key, problem: 'changed' });
  }
  return problems;
}

/** SHA-256; with a salt HMAC-SHA256, as the reference of a personal file has it. */
export async function hashOfFile(path: string, salt?: string): Promise<string> {
  const hash = salt === undefined ? createHash('sha256') : createHmac('sha256', salt);
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
