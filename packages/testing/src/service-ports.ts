import type { BlobStore, Clock, EndpointPorts, Logger, StateStore } from '@dormouse/core';

/** A log that nobody reads. */
export const quiet: Logger = { info: () => {}, warn: () => {}, error: () => {} };

/** What a service needs beside its store and its time, at the plainest: files in memory, no chance, a log that nobody reads, every token good. */
export function servicePorts<S extends StateStore>(store: S, clock: Clock): EndpointPorts & { readonly store: S } {
  return {
    system: 'test',
    store,
    blobs: filesInMemory(),
    clock,
    random: { fraction: () => 1, bytes: (count) => new Uint8Array(count) },
    log: quiet,
    authenticate: async () => {},
  };
}

function filesInMemory(): BlobStore {
  const kept = new Map<string, Uint8Array>();
  return {
    put: async (key, bytes) => void kept.set(key, bytes),
    get: async (key) => kept.get(key)!,
    removeAll: async () => 0,
  };
}
