import { idOf, type Ref, refOf } from './state-store.ts';

/** The collection of all workflows of a client: a document each, written with the workflow. */
export function workflowsOfClient(clientId: string): Ref {
  return `${refOf('clients', clientId)}/workflows`;
}

/** What says that a workflow is a client's; its id is the workflow's. */
export function clientLink(clientId: string, workflow: Ref): Ref {
  return refOf('clients', clientId, 'workflows', idOf(workflow));
}
