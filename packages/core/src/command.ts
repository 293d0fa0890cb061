import type { ZodType } from 'zod';
import { type Actor, type Role, sees, tenantOfNew } from './actor.ts';
import { commitUnit } from './commit.ts';
import { deferralsRef, waking } from './deferral.ts';
import { DormouseError } from './errors.ts';
import { derivedId, derivedRandom, hmacSha256, randomId } from './ids.ts';
import { type Ref, refOf } from './state-store.ts';
import { RunningStep, type Step, type StepPorts } from './step.ts';
import { workflowOf } from './workflow.ts';

export interface Problem {
  /** `statement.lines[3].date` */
  readonly path: string;
  readonly message: string;
}

/** The input of a command is malformed: everything wrong with it at once. Nothing was done. */
export class InvalidInput extends DormouseError {
  override readonly name = 'InvalidInput';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super('command.invalid', problems.map(({ path, message }) => `${path}: ${message}`).join('; '));
    this.problems = problems;
  }
}

/** The command does not fit the state of its workflow. Nothing was done. */
export class CommandRefused extends DormouseError {
  override readonly name = 'CommandRefused';

  constructor(message: string) {
    super('command.refused', message);
  }
}

export interface CommandRequest {
  readonly headers: Headers;
  readonly body: string;
  readonly params: Readonly<Record<string, string>>;
}

/** The same unit of work as a step, begun by an actor instead of an event. */
export interface Command<I = unknown, O = unknown> {
  readonly name: string;
  /** Route on the console: `POST /api/workflows/create`. */
  readonly route: `POST /api/${string}`;
  /** One sentence for whoever reads the API's description. */
  readonly summary?: string;
  /** What the description says of the body; `parse` is what checks it. Default: no body. */
  readonly body?: ZodType;
  /** What the description says of the answer. */
  readonly output?: ZodType;
  /** `token`: a client's or operator's. `none`: `parse` authenticates the request itself, as a signed webhook. */
  readonly authentication: 'token' | 'none';
  /** The least role that may give it. Default `operator`. */
  readonly role: Role;
  /** It makes its subject. Otherwise its subject must exist, and be of the actor's tenant. Default false. */
  readonly creates: boolean;
  /** Who speaks through it, in the source of its events. Default `frontend`. */
  readonly from: string;
  /** Default 1,000,000. */
  readonly maxBodyBytes: number;
  /** @throws InvalidInput, CommandRefused */
  parse(request: CommandRequest, now: number): I;
  /**
   * The workflow it is about, or a document below it; a new one's reference included. The `key` makes the same request the
   * same unit, as the header Idempotency-Key does where there is none.
   */
  subject(
    input: I,
    fresh: { readonly now: number; readonly random: StepPorts['random'] },
  ): { readonly ref: Ref; readonly key?: string };
  run(input: I, step: Step): Promise<O>;
}

export function command<I, O>(
  definition: Omit<Command<I, O>, keyof typeof defaults> & Partial<Pick<Command, keyof typeof defaults>>,
): Command {
  return { ...defaults, ...definition } as Command;
}

const defaults = {
  authentication: 'token',
  role: 'operator',
  creates: false,
  from: 'frontend',
  maxBodyBytes: 1_000_000,
} satisfies Partial<Command>;

const maxRuns = 8;
const deadlineMs = 30_000;

/**
 * Runs a command to its commit. A command about an existing document is of that document's tenant; one that makes its
 * subject is of the actor's. Who gave it may do so by its role: that is for the caller to check.
 * @throws InvalidInput, CommandRefused, DormouseError `document.missing` where the subject is not there for the actor,
 * `command.key-reused`, `store.contended`
 */
export async function runCommand(
  definition: Command,
  request: CommandRequest,
  actor: Actor,
  system: string,
  ports: StepPorts,
): Promise<unknown> {
  const input = definition.parse(request, ports.clock.now());
  const repeatable = repeatableBy(definition, request, actor);
  const deadline = new AbortController();
  const cancel = ports.clock.after(deadlineMs, () => deadline.abort());
  try {
    for (let run = 1; run <= maxRuns; run++) {
      try {
        return await runOnce(definition, input, { actor, repeatable, system, run, signal: deadline.signal }, ports);
      } catch (error) {
        // Something moved, or the id that was made up is taken: on fresh reads, and with a fresh id, it goes another way.
        const again = error instanceof DormouseError && ['store.conflict', 'document.exists'].includes(error.code);
        if (!again) throw error;
      }
    }
    throw new DormouseError('store.contended', `command "${definition.name}": what it read moved in ${maxRuns} runs`);
  } finally {
    cancel();
  }
}

interface Run {
  readonly actor: Actor;
  readonly repeatable: Repeatable | undefined;
  readonly system: string;
  readonly run: number;
  readonly signal: AbortSignal;
}

async function runOnce(
  definition: Command,
  input: unknown,
  { actor, repeatable, system, run, signal }: Run,
  ports: StepPorts,
): Promise<unknown> {
  // What is made up for a request that may be repeated is the same in every repetition, so two at once make one thing.
  const random = repeatable ? derivedRandom(repeatable.id, run) : ports.random;
  const { ref, key } = definition.subject(input, { now: ports.clock.now(), random });
  const known = key === undefined ? repeatable?.id : derivedId('command', definition.name, ref, key);
  const id = known ?? randomId(ports.random);
  const inbox = known === undefined ? [] : [refOf('inbox', id)];
  const workflow = workflowOf(ref);
  const about = [...new Set(workflow === undefined ? [ref] : [ref, workflow, deferralsRef(workflow)])];
  const read = await ports.store.get([...about, ...inbox]);
  const before = inbox.length > 0 ? read.pop()! : undefined;
  if (before?.data) {
    if (key === undefined && before.data.fingerprint !== repeatable!.fingerprint) throw keyReused();
    // Who ran it before may have died between its commit and its publish.
    if (workflow !== undefined) await ports.relay?.drain({ workflow });
    return before.data.output;
  }
  const [subject] = read;
  if (!definition.creates && !sees(actor, subject!.tenant)) {
    throw new DormouseError('document.missing', `there is no document "${ref}"`);
  }
  const tenant = definition.creates ? tenantOfNew(actor) : subject!.tenant!;
  const deferrals = workflow === undefined ? undefined : read.pop();
  const step = new RunningStep(
    {
      seed: ['command', definition.name, id],
      cause: { kind: 'command', id, command: definition.name, actor: actor.name, from: definition.from },
      source: `//dormouse/${system}/${definition.from}`,
      subject: ref,
      tenant,
      traceparent: undefined,
      attempt: run,
      signal,
    },
    ports,
    read,
  );
  try {
    const output = (await definition.run(input, step)) ?? null;
    await step.conclude();
    const fingerprint = key === undefined ? repeatable?.fingerprint : undefined;
    const at = ports.clock.now();
    const data = { state: 'settled', at, output, ...(fingerprint && { fingerprint }) };
    const { reads, writes, publish } = await waking(ports.store, deferrals, tenant, step.written);
    const settles = before && { ref: before.ref, data, settledAt: at };
    const unit = step.unit({
      reads: before ? [before, ...reads] : reads,
      writes: settles ? [settles, ...writes] : writes,
      publish,
    });
    await commitUnit(ports, unit);
    return output;
  } finally {
    step.close();
  }
}

/** A request that says it may come again: its unit's id, and what it asked for. */
interface Repeatable {
  readonly id: string;
  readonly fingerprint: string;
}

/**
 * Keys are each tenant's own. Source: draft-ietf-httpapi-idempotency-key-header: a structured-field string; many clients
 * leave out its quotes, and are understood. @throws InvalidInput
 */
function repeatableBy(
  { name, authentication }: Command,
  { headers, params, body }: CommandRequest,
  { tenant }: Actor,
): Repeatable | undefined {
  const header = headers.get('idempotency-key');
  if (header === null || authentication === 'none') return undefined;
  const key = /^"([ !#-[\]-~]{1,255})"$/.exec(header)?.[1] ?? /^[!#-[\]-~]{1,255}$/.exec(header)?.[0];
  if (key === undefined) {
    const message = 'must be a string of 1 to 255 printable ASCII characters in quotes';
    throw new InvalidInput([{ path: 'Idempotency-Key', message }]);
  }
  return {
    id: derivedId('command', 'key', tenant, key),
    // Under the key, which is not kept: who reads it can try no guess of what the body said.
    fingerprint: hmacSha256(key, JSON.stringify([name, params, body])),
  };
}

function keyReused(): DormouseError {
  const message = 'this Idempotency-Key was used for another request; a new request needs a new key';
  return new DormouseError('command.key-reused', message);
}
