import { type FileRef, idOf, type Ref, type StateStore } from '@dormouse/core';

/**
 * The files of a workflow by name, the newest of each. A file is of the workflow when a committed document of it names it:
 * its log tells which do, so what a failed step left in the blob store is not there. A document may hold what a client
 * wrote: a reference to another workflow's file opens nothing.
 */
export async function filesOf(store: StateStore, workflow: Ref): Promise<ReadonlyMap<string, FileRef>> {
  const files = new Map<string, FileRef>();
  const own = `${idOf(workflow)}/`;
  for await (const { kind, entry } of store.log({ workflow })) {
    if (kind !== 'log') continue;
    for (const change of entry.changes) if ('value' in change) collect(change.value, own, files);
  }
  return files;
}

function collect(value: unknown, own: string, into: Map<string, FileRef>): void {
  if (typeof value !== 'object' || value === null) return;
  const { key, name, sha256, bytes } = value as Partial<FileRef>;
  if (typeof key === 'string' && typeof name === 'string' && typeof sha256 === 'string' && typeof bytes === 'number') {
    if (key.startsWith(own)) into.set(name, value as FileRef);
  } else for (const each of Object.values(value)) collect(each, own, into);
}
