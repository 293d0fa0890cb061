import { DormouseError } from './errors.ts';
import { isReserved } from './listing.ts';
import { checkName } from './name.ts';
import { isKept } from './state-store.ts';

/** A kind of long-running thing that events are about. Its documents live at `<collection>/<id>`. */
export interface WorkflowKind<T> {
  readonly collection: string;
  /** First part of an id, as in `WF-20250129-7K3QXM`. */
  readonly idPrefix: string;
  /**
   * Whose it is: a stable id, by which all workflows of a client are found, and their personal data erased. It stays on record, so
   * it must be none itself. Undefined: nobody's.
   */
  readonly client: ((data: T) => string | undefined) | undefined;
  readonly type?: T;
}

/** Documents below a workflow, each with a version and a log of its own: `<workflow>/<name>/<id>`. */
export interface Collection<T> {
  readonly name: string;
  /** Holds personal data: kept out of log, journal and events. Default false. */
  readonly personal: boolean;
  readonly type?: T;
}

export const workflows = 'workflows';

export function workflow<T>(options: {
  readonly idPrefix: string;
  readonly client?: (data: T) => string | undefined;
}): WorkflowKind<T> {
  return { collection: workflows, idPrefix: options.idPrefix, client: options.client };
}

/** @throws DormouseError `config.name` */
export function collection<T>(name: string, options: { readonly personal?: boolean } = {}): Collection<T> {
  checkName('collection', name);
  if (isReserved(name)) {
    throw new DormouseError('config.name', `collection "${name}" is called as one of Dormouse's own; use another name`);
  }
  return { name, personal: options.personal ?? false };
}

/** `workflows/WF-1/letters/acme` → `workflows/WF-1`. None of an id that no store keeps: nothing can be about that. */
export function workflowOf(ref: string): string | undefined {
  const [workflow, id] = /^workflows\/([^/]+)/.exec(ref) ?? [];
  return id !== undefined && isKept(id) ? workflow : undefined;
}
