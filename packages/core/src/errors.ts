import type { Versioned } from './state-store.ts';

/** Every stable code, with what it means and what happens next; `docs/errors.md` is this table, kept equal by a test. */
export const errorCodes = {
  'config.duration': 'A setting is not a duration. Nothing starts.',
  'config.name': 'A name of a topic, service, subscription or workflow kind is not allowed. Nothing starts.',
  'config.duplicate': 'Two declarations share a name. Nothing starts.',
  'config.unknown-topic': 'A handler names a topic that the system does not declare. Nothing starts.',
  'config.setting': 'A setting has a value out of its range. Nothing starts.',
  'event.malformed': 'The message is not an event of its topic. Dead-lettered at once.',
  'event.invalid': 'The data of the event does not fit the schema of its topic. Dead-lettered at once.',
  'event.foreign': 'The event is of another tenant than the workflow it is about. Dead-lettered at once.',
  'event.newer-version': 'The event has a newer schema version than this code knows. Retried later, without end.',
  'event.unknown-subscription':
    'The message is for a subscription this service does not declare. Answered 404; the wire retries.',
  'delivery.deadly': 'Every process died that was given the message, three of them alone with it. Dead-lettered.',
  'delivery.unanswered':
    'The wire gave up on a message: whoever was given it never committed what became of it. A dead letter of its own.',
  'step.permanent': 'A handler said that no retry can help. Dead-lettered at once.',
  'step.retry-later':
    'A handler asked to be run again at a time of its choosing. Retried then, up to 1,000 times; then dead-lettered.',
  'step.deferred':
    'A handler deferred its event until a document it read moves, and none did within the greatest age. Dead-lettered then.',
  'step.failed': 'A handler threw. Retried by the policy of its subscription, then dead-lettered.',
  'step.deadline': 'A handler outlived its deadline (the ack deadline less a margin). Retried by policy.',
  'step.effect-in-activity': 'An activity published or wrote; only its step may. Dead-lettered at once.',
  'step.activity-input': 'An activity ran again under the same name with another input. Dead-lettered at once.',
  'step.activity-result':
    'The result of an activity is not JSON or over 256 KB; files are for that. Dead-lettered at once.',
  'step.publish-invalid':
    'Data to publish does not fit the schema of its topic, or is larger than any broker takes. Dead-lettered at once.',
  'step.closed': 'A step was used after it ended. The call is refused.',
  'document.missing': 'A document that the handler needs does not exist. Retried by policy.',
  'document.exists': 'A document to create exists already. Dead-lettered at once.',
  'document.ref':
    'A reference is not a path of pairs "collection/id", or has an id that no store keeps. The call is refused.',
  'personal.erased':
    'A step needs personal data of a workflow whose personal data was erased, or would write some. Dead-lettered at once.',
  'topic.undeclared': 'A step published to a topic that the system does not declare. Dead-lettered at once.',
  'store.conflict': 'A document read by the step has moved. The step runs again on fresh reads.',
  'store.contended':
    'A step met conflicts in every one of its re-runs. Retried after about a second; uses up no attempt.',
  'store.limit': 'A step does more at once than its store can commit. Nothing was done. Dead-lettered at once.',
  'store.refused':
    'The store takes what a step asks of it for malformed, and would again; the message says why. Nothing was done. Dead-lettered at once.',
  'store.unavailable':
    'The state store did not answer, or its disk would not take a write. Nothing was done, or, where only the answer of a remote store was lost, all of it. A message is not acknowledged and comes again, no attempt used up; a request is answered 503.',
  'subscription.differs':
    'A subscription exists with another topic, order or filter than its handler needs, which Pub/Sub lets nobody change. Nothing starts.',
  'subscription.refused': 'A subscription cannot be moved or forgotten; the message says why. Nothing more was done.',
  'query.invalid': 'A limit or cursor of a listing is none. The call is refused.',
  'query.unindexed': 'No index that is declared serves a query: not every store could answer it. The call is refused.',
  'blob.missing': 'A file named by a document is not in the blob store. Retried by policy.',
  'blob.damaged': 'A file named by a document has another content than was written. Retried by policy.',
  'command.invalid': 'The input of a command is malformed; all problems are listed by path. Nothing was done.',
  'command.refused': 'The command does not fit the state of its workflow. Nothing was done.',
  'command.key-reused': 'The Idempotency-Key of a command was used for another request. Nothing was done.',
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** An error of Dormouse's own: a stable code, and a message that names the thing, the value and the remedy. */
export class DormouseError extends Error {
  override readonly name: string = 'DormouseError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Commit refused: documents of the read set have moved since they were read, or only the heads of chains that the unit would
 * have grown. Then what was read still holds, and the unit may be committed as it is.
 */
export class ConflictError extends DormouseError {
  override readonly name = 'ConflictError';
  /** Documents. None where only heads moved. */
  readonly moved: readonly string[];
  /** Documents whose chains have grown. */
  readonly heads: readonly string[];
  /** How documents stand that were read, as far as the store found out on its way: who runs again need not ask for these. Default none. */
  readonly found: readonly Versioned[];

  constructor(moved: readonly string[], heads: readonly string[] = [], found: readonly Versioned[] = []) {
    const told = [...moved, ...heads.map((chain) => `the log of ${chain}`)].join(', ');
    super('store.conflict', `moved since they were read: ${told}`);
    this.moved = moved;
    this.heads = heads;
    this.found = found;
  }
}
