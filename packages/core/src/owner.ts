import type { Message } from './envelope.ts';
import { DormouseError } from './errors.ts';
import type { Ref, Versioned } from './state-store.ts';
import { defaultTenant, tenantName, tenantNameRule } from './tenant.ts';
import { workflowOf } from './workflow.ts';

/** Whose a delivery is, and what it is about where it is theirs. */
export interface Owner {
  readonly tenant: string;
  readonly subject: Ref | undefined;
  /** Why no handler may see it. */
  readonly refused?: DormouseError;
}

/**
 * An event says itself whose it is; one that does not, as those of others may, is of its workflow's tenant, and stays so: its
 * memory is that tenant's, also where the workflow goes, or comes only later.
 * One that is of another tenant than its workflow is refused, and what becomes of it stays with who it is of.
 */
export function ownerOf({ attributes }: Message, inbox: Versioned, about: Versioned | undefined): Owner {
  const { 'ce-tenant': said, 'ce-subject': subject = '' } = attributes;
  const claimed = said ?? inbox.tenant ?? undefined;
  const workflow = workflowOf(subject);
  const tenant = about?.tenant ?? null;
  if (claimed !== undefined && !tenantName.test(claimed)) {
    const message = `tenant "${claimed}" is none; use ${tenantNameRule}`;
    return { tenant: defaultTenant, subject: undefined, refused: new DormouseError('event.malformed', message) };
  }
  if (claimed !== undefined && tenant !== null && claimed !== tenant) {
    const message = `the event is of tenant "${claimed}", which has no "${workflow}"`;
    return { tenant: claimed, subject: undefined, refused: new DormouseError('event.foreign', message) };
  }
  return { tenant: claimed ?? tenant ?? defaultTenant, subject: subject === '' ? undefined : subject };
}
