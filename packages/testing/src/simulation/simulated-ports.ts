import {
  type BlobStore,
  ConflictError,
  DormouseError,
  type Entry,
  type Logger,
  type Publisher,
  Relay,
  type StepPorts,
  type UnitOfWork,
} from '@dormouse/core';
import type { TimerStore } from '@dormouse/local';
import type { Faults } from './faults.ts';
import type { Tasks } from './tasks.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { Witness } from './witness.ts';

export interface SimulatedPortsOptions {
  readonly tasks: Tasks;
  readonly clock: VirtualClock;
  readonly faults: Faults;
  readonly witness: Witness;
  readonly log: Logger;
  readonly store: TimerStore;
  /** A broker that is apart. None where the store publishes within its commit. */
  readonly publisher: Publisher | undefined;
  readonly answers: (what: 'store' | 'broker') => boolean;
  readonly files: Map<string, Uint8Array>;
}

export interface SimulatedPorts extends StepPorts {
  readonly store: TimerStore;
}

/** What one process reaches of its platform: the real store and broker, behind points at which anything may happen. */
export function simulatedPorts(options: SimulatedPortsOptions): SimulatedPorts {
  const { tasks, clock } = options;
  const random = {
    fraction: () => tasks.draw(),
    bytes: (count: number) => Uint8Array.from({ length: count }, () => tasks.draw() * 256),
  };
  const store = storeOf(options);
  return { store, blobs: filesOf(options), clock, random, relay: relayOf(store, options) };
}

function storeOf({ tasks, faults, witness, store, answers }: SimulatedPortsOptions): TimerStore {
  const answering = async (what: string): Promise<string> => {
    const point = await tasks.point(what);
    if (answers('store')) return point;
    throw new DormouseError('store.unavailable', 'the store does not answer; try again later');
  };
  return {
    async get(refs) {
      await answering(`reads ${short(refs)}`);
      return store.get(refs);
    },
    async find(query) {
      await answering(`lists ${query.collection}`);
      return store.find(query);
    },
    async *log(query): AsyncIterable<Entry> {
      await answering(`reads the log of ${query.workflow}`);
      yield* store.log(query);
    },
    async commit(unit: UnitOfWork) {
      const point = await answering(`commits ${described(unit)}`);
      const task = tasks.current!;
      const strikes = (name: Parameters<Faults['strikes']>[0]) => faults.strikes(name, point, task.life.name);
      if (unit.reads.length > 0 && strikes('store.conflict')) throw new ConflictError([unit.reads[0]!.ref]);
      if (unit.entries.length > 0 && strikes('store.head-moved')) throw new ConflictError([], [unit.entries[0]!.chain]);
      const committed = await store.commit(unit);
      witness.committed(unit, task);
      if (strikes('store.answer-lost')) {
        throw new DormouseError('store.unavailable', 'the connection to the store broke; try again later');
      }
      return committed;
    },
    async due(now, limit, except) {
      await answering('looks for timers that are due');
      return store.due(now, limit, except);
    },
    async unsent(query) {
      await answering(`looks for what is unsent${query.workflow ? ` of ${query.workflow}` : ''}`);
      return store.unsent(query);
    },
    async sent(ids) {
      await answering(`clears ${ids.length} of the outbox`);
      return store.sent(ids);
    },
    endBackoffs: (now) => store.endBackoffs(now),
    nextDueAt: () => store.nextDueAt(),
  };
}

/** Each process has its own, as each has its memory. Who waits for what another task sends waits. */
function relayOf(
  store: TimerStore,
  { tasks, faults, publisher, witness, answers, log }: SimulatedPortsOptions,
): StepPorts['relay'] {
  if (!publisher) return undefined;
  const relay = new Relay(
    store,
    {
      async publish(topic, messages) {
        const point = await tasks.point(`publishes ${messages.length > 1 ? `${messages.length} to ` : ''}${topic}`);
        if (!answers('broker')) throw new Error('the broker does not answer');
        witness.publishing(topic, messages);
        await publisher.publish(topic, messages);
        if (faults.strikes('broker.answer-lost', point, tasks.current!.life.name)) {
          throw new Error('the connection to the broker broke');
        }
      },
    },
    log,
  );
  return {
    send: (unsent) => tasks.idle(relay.send(unsent)),
    drain: (query) => tasks.idle(relay.drain(query)),
  };
}

function filesOf({ tasks, faults, files }: SimulatedPortsOptions): BlobStore {
  const reached = async (what: string) => {
    const point = await tasks.point(what);
    if (faults.strikes('file.unavailable', point, tasks.current!.life.name)) {
      throw new DormouseError('store.unavailable', 'the file store does not answer; try again later');
    }
  };
  return {
    async put(key, bytes) {
      await reached(`writes file ${key}`);
      if (!files.has(key)) files.set(key, bytes);
    },
    async get(key) {
      await reached(`reads file ${key}`);
      const bytes = files.get(key);
      if (!bytes) throw new DormouseError('blob.missing', `there is no file "${key}"`);
      return bytes;
    },
    async removeAll(prefix) {
      await reached(`removes files ${prefix}`);
      const found = [...files.keys()].filter((key) => (prefix.endsWith('/') ? key.startsWith(prefix) : key === prefix));
      for (const key of found) files.delete(key);
      return found.length;
    },
  };
}

function described({ writes, publish }: UnitOfWork): string {
  const timers = writes.flatMap(({ data, dueAt, dueAfterMs }) =>
    dueAt === undefined && dueAfterMs === undefined ? [] : [`${data!.name}`],
  );
  const parts = [
    ...(writes.length > 0 ? [short(writes.map(({ ref, data }) => (data === null ? `-${ref}` : ref)))] : []),
    ...(publish.length > 0 ? [`to publish ${publish.map(({ topic }) => topic).join(', ')}`] : []),
    ...(timers.length > 0 ? [`timer ${timers.join(', ')}`] : []),
  ];
  return parts.join('; ') || 'nothing';
}

/** Keys of inbox and activities are long, and say nothing to a reader. */
function short(refs: readonly string[]): string {
  return refs.map((ref) => ref.replace(/\b([0-9A-Z]{6})[0-9A-Z]{20}\b/g, '$1…')).join(' ');
}
