import type { Actor } from './actor.ts';
import { saltKeyOf } from './blob-store.ts';
import { workflowsOfClient } from './client.ts';
import { CommandRefused } from './command.ts';
import { ConflictError, DormouseError } from './errors.ts';
import { causeOf } from './failure.ts';
import { foldedChains } from './fold.ts';
import { randomId } from './ids.ts';
import type { EntryDraft } from './log.ts';
import { difference, type PatchOperation } from './patch.ts';
import { erasedMark, erasedRef, isCommitment, personalActivitiesOf, personalFilesOf } from './personal.ts';
import { idOf, type Ref, refOf, type UnitOfWork, type Versioned, type Write } from './state-store.ts';
import type { StepPorts } from './step.ts';
import { everyTenant } from './tenant.ts';
import { workflows } from './workflow.ts';

export interface ErasurePorts extends Pick<StepPorts, 'store' | 'blobs' | 'clock' | 'random'> {
  /** Statuses of workflows that are over. */
  readonly closedStatuses: readonly string[];
  /** Runs while nobody copies the files, so that no copy lacks what its documents name. */
  readonly holdingFiles: <T>(work: () => Promise<T>) => Promise<T>;
  /** Removes what deleting leaves of the bytes in the store's own files. */
  readonly scrub: () => Promise<void>;
}

export interface ErasureRequest {
  readonly client: string;
  /** Also of workflows that are not over: what in them needs personal data dies. */
  readonly force: boolean;
  /** Leaves the bytes in the store's files, until it is asked again without. */
  readonly later: boolean;
  /** Of the answer before. */
  readonly cursor?: string | undefined;
}

export interface ErasedWorkflow {
  readonly id: string;
  readonly documents: number;
  /** Results of activities. */
  readonly activities: number;
  /** Files and their salts. */
  readonly files: number;
}

export interface ErasureProgress {
  readonly workflows: readonly ErasedWorkflow[];
  /** Where to go on; absent when all is done. */
  readonly cursor?: string;
}

const workflowsAtATime = 20;
const documentsAtATime = 100;
const pageSize = 500;
const namedAtMost = 5;

/**
 * Erases the personal data of a client, workflow by workflow.
 *
 * First a mark is committed, with an entry in the workflow's own chain. Every step that touches personal data has that mark as a
 * precondition, so nothing that runs meanwhile or is retried later brings any back. Then values and salts are deleted, each with an
 * entry in its chain that says so, then recorded results, then files: also those that no document names. Whatever was
 * interrupted is made good by doing it again; what is erased already is passed over.
 */
export class Erasure {
  readonly #ports: ErasurePorts;

  constructor(ports: ErasurePorts) {
    this.#ports = ports;
  }

  /**
   * The next few workflows. @throws DormouseError `document.missing` where there is no such client, CommandRefused where one of its
   * workflows is not over and it is not forced, or where clients of several tenants bear that name: nothing was done
   */
  async erase({ client, force, later, cursor }: ErasureRequest, actor: Actor): Promise<ErasureProgress> {
    if (cursor === undefined) await this.#check(client, actor, force);
    const page = await this.#links(client, actor, workflowsAtATime, cursor);
    const done: ErasedWorkflow[] = [];
    for (const { ref, tenant } of page.documents) {
      done.push(await this.#eraseWorkflow(refOf(workflows, idOf(ref)), tenant!, actor));
    }
    if (page.cursor !== undefined) return { workflows: done, cursor: page.cursor };
    if (!later) await this.#scrub();
    return { workflows: done };
  }

  async #scrub(): Promise<void> {
    try {
      await this.#ports.scrub();
    } catch (error) {
      throw new CommandRefused(
        `all of it is deleted, but its bytes may still be in the database, which could not be written anew: ${causeOf(error)}; erase again when that is mended`,
      );
    }
  }

  #links(client: string, { tenant }: Actor, limit: number, cursor: string | undefined) {
    return this.#ports.store.find({
      collection: workflowsOfClient(client),
      limit,
      ...(tenant !== everyTenant && { tenant }),
      ...(cursor !== undefined && { cursor }),
    });
  }

  async #check(client: string, actor: Actor, force: boolean): Promise<void> {
    const { store, closedStatuses } = this.#ports;
    const tenants = new Set<string>();
    const open: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await this.#links(client, actor, pageSize, cursor);
      for (const { tenant } of page.documents) tenants.add(tenant!);
      const found = await store.get(page.documents.map(({ ref }) => refOf(workflows, idOf(ref))));
      for (const { ref, data } of found) {
        if (data && !closedStatuses.includes(data.status as string)) open.push(idOf(ref));
      }
      cursor = page.cursor;
      if (cursor === undefined) break;
    }
    if (tenants.size === 0) throw new DormouseError('document.missing', `there is no workflow of a client "${client}"`);
    if (tenants.size > 1) {
      const names = [...tenants].sort().join(', ');
      throw new CommandRefused(`clients of the tenants ${names} bear the name "${client}"; say which tenant's`);
    }
    if (open.length === 0 || force) return;
    const named = open.slice(0, namedAtMost).join(', ') + (open.length > namedAtMost ? ', …' : '');
    throw new CommandRefused(
      `${open.length} workflows of client "${client}" are not over (${named}); end them first, or force it: what in them still needs personal data then dies`,
    );
  }

  async #eraseWorkflow(workflow: Ref, tenant: string, actor: Actor): Promise<ErasedWorkflow> {
    const { blobs, clock, random, store, holdingFiles } = this.#ports;
    const at = clock.now();
    const unit = randomId(random);
    const entry = (chain: Ref, changes: readonly PatchOperation[], note?: string): EntryDraft => ({
      chain,
      unit,
      cause: { kind: 'command', id: unit, command: 'erase', actor: actor.name, from: 'operator' },
      changes,
      published: [],
      cancelledTimers: [],
      ...(note !== undefined && { note }),
      startedAt: at,
      durationMs: 0,
    });
    const commit = (reads: readonly Versioned[], writes: readonly Write[], entries: readonly EntryDraft[]) =>
      this.#commit({ tenant, reads, writes, entries, journal: [], publish: [] });

    const ref = erasedRef(workflow);
    for (;;) {
      const [mark] = await store.get([ref]);
      const write = { ref, data: { at, by: actor.name } };
      if (mark!.data || (await commit([mark!], [write], [entry(workflow, [], 'erases the personal data')]))) break;
    }

    let documents = 0;
    const oldFiles = new Set<string>();
    for (;;) {
      const chains = await foldedChains(store, workflow);
      for (const { document } of chains.values()) personalFilesIn(document, oldFiles);
      const committed = [...chains].filter(([, { document }]) => isCommitment(document)).slice(0, documentsAtATime);
      if (committed.length === 0) break;
      const found = await store.get(committed.map(([chain]) => chain));
      const writes = found.map(({ ref }) => ({ ref, data: null }));
      const entries = committed.map(([chain, { document }]) => entry(chain, difference(document, erasedMark)));
      if (await commit(found, writes, entries)) documents += committed.length;
    }

    let activities = 0;
    for (;;) {
      const page = await store.find({ collection: personalActivitiesOf(workflow), limit: documentsAtATime });
      if (page.documents.length === 0) break;
      const writes = page.documents.map(({ ref }) => ({ ref, data: null }));
      if (await commit([], writes, [])) activities += writes.length;
    }

    const files = await holdingFiles(async () => {
      let count = await blobs.removeAll(personalFilesOf(workflow));
      for (const key of oldFiles) count += await blobs.removeAll(key);
      return count;
    });
    return { id: idOf(workflow), documents, activities, files };
  }

  /** False where something moved meanwhile. */
  async #commit(unit: UnitOfWork): Promise<boolean> {
    try {
      await this.#ports.store.commit(unit);
      return true;
    } catch (error) {
      if (error instanceof ConflictError) return false;
      throw error;
    }
  }
}

/** Keys of personal files that older programs wrote, which do not lie with the others. */
function personalFilesIn(value: unknown, into: Set<string>): void {
  if (typeof value !== 'object' || value === null) return;
  const { key, sha256, personal } = value as Record<string, unknown>;
  if (personal === true && typeof key === 'string' && typeof sha256 === 'string') {
    if (saltKeyOf({ key }) === undefined) into.add(key);
  } else for (const each of Object.values(value)) personalFilesIn(each, into);
}
