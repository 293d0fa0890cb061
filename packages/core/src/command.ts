import { defaultTenant } from './envelope.ts';
import { DormouseError } from './errors.ts';
import { derivedId, randomId } from './ids.ts';
import { type Ref, refOf } from './state-store.ts';
import { RunningStep, type Step, type StepPorts } from './step.ts';

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
  /** `token`: a client's or operator's. `none`: `parse` authenticates the request itself, as a signed webhook. */
  readonly authentication: 'token' | 'none';
  /** Who speaks through it, in the source of its events. Default `frontend`. */
  readonly from: string;
  /** Default 1,000,000. */
  readonly maxBodyBytes: number;
  /** @throws InvalidInput, CommandRefused */
  parse(request: CommandRequest, now: number): I;
  /** The workflow it is about, a new one's reference included. The `key` makes the same request the same unit. */
  subject(
    input: I,
    fresh: { readonly now: number; readonly random: StepPorts['random'] },
  ): { readonly ref: Ref; readonly key?: string };
  run(input: I, step: Step): Promise<O>;
}

export function command<I, O>(
  definition: Omit<Command<I, O>, 'authentication' | 'from' | 'maxBodyBytes'> &
    Partial<Pick<Command, 'authentication' | 'from' | 'maxBodyBytes'>>,
): Command {
  return { authentication: 'token', from: 'frontend', maxBodyBytes: 1_000_000, ...definition } as Command;
}

const maxRuns = 8;
const deadlineMs = 30_000;

/** Runs a command to its commit. @throws InvalidInput, CommandRefused, DormouseError `store.contended` */
export async function runCommand(
  definition: Command,
  request: CommandRequest,
  actor: string,
  system: string,
  ports: StepPorts,
): Promise<unknown> {
  const input = definition.parse(request, ports.clock.now());
  const deadline = new AbortController();
  const cancel = ports.clock.after(deadlineMs, () => deadline.abort());
  try {
    for (let run = 1; run <= maxRuns; run++) {
      try {
        return await runOnce(definition, input, { actor, system, run, signal: deadline.signal }, ports);
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

async function runOnce(
  definition: Command,
  input: unknown,
  { actor, system, run, signal }: { actor: string; system: string; run: number; signal: AbortSignal },
  ports: StepPorts,
): Promise<unknown> {
  const { ref, key } = definition.subject(input, { now: ports.clock.now(), random: ports.random });
  const id = key === undefined ? randomId(ports.random) : derivedId('command', definition.name, ref, key);
  const inbox = key === undefined ? [] : [refOf('inbox', id)];
  const read = await ports.store.get([ref, ...inbox]);
  const before = inbox.length > 0 ? read.pop()! : undefined;
  if (before?.data) return before.data.output;
  const step = new RunningStep(
    {
      seed: ['command', definition.name, id],
      cause: { kind: 'command', id, command: definition.name, actor, from: definition.from },
      source: `//dormouse/${system}/${definition.from}`,
      subject: ref,
      tenant: defaultTenant,
      traceparent: undefined,
      attempt: run,
      signal,
    },
    ports,
    read,
  );
  try {
    const output = (await definition.run(input, step)) ?? null;
    const data = { state: 'settled', output };
    const settles = before && { reads: [before], writes: [{ ref: before.ref, data, tenant: defaultTenant }] };
    await ports.store.commit(step.unit(settles ?? { reads: [], writes: [] }));
    return output;
  } finally {
    step.close();
  }
}
