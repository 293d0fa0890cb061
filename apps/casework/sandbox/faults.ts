import { once } from 'node:events';
import type { Socket } from 'node:net';

export const faultTargets = ['bank', 'counterparties', 'sms', 'mail'] as const;
export const faultModes = ['status', 'hang', 'reset', 'malformed'] as const;
export type FaultTarget = (typeof faultTargets)[number];
export type FaultMode = (typeof faultModes)[number];

/**
 * A part of the outside world that misbehaves. `status` refuses and does nothing. The others do what was asked and lose
 * the answer, so that a caller who tries again repeats himself: `hang` never answers, `reset` cuts the connection,
 * `malformed` answers with a fragment.
 */
export interface Fault {
  readonly target: FaultTarget;
  readonly mode: FaultMode;
  /** What `status` answers. Default 503, for mail 451. */
  readonly status?: number;
  /** Only for requests whose address holds this text, such as a merchant's name. Mail has no address. */
  readonly matching?: string;
  /** For so many requests; by default for all. */
  readonly times?: number;
  /** For so long; by default until it is taken back. */
  readonly forMs?: number;
}

/** The faults in force, at most one a target. They are not kept over a restart. */
export class Faults {
  readonly #now: () => number;
  readonly #active = new Map<FaultTarget, { readonly fault: Fault; left: number; readonly until: number }>();
  #holding = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  set(fault: Fault): void {
    const until = this.#now() + (fault.forMs ?? Number.POSITIVE_INFINITY);
    this.#active.set(fault.target, { fault, left: fault.times ?? Number.POSITIVE_INFINITY, until });
  }

  clear(): void {
    this.#active.clear();
  }

  /** Callers who hang. */
  get holding(): number {
    return this.#holding;
  }

  /** Leaves a caller without an answer until he goes away. */
  async hold(socket: Socket): Promise<void> {
    if (socket.destroyed) return;
    this.#holding += 1;
    await once(socket, 'close');
    this.#holding -= 1;
  }

  /** The fault that this request is to meet; it counts as met. */
  take(target: FaultTarget, address?: URL): Fault | undefined {
    const active = this.#active.get(target);
    if (!active) return undefined;
    const { matching } = active.fault;
    if (matching !== undefined && !(address && holds(address, matching))) return undefined;
    if (active.left < 1 || this.#now() >= active.until) {
      this.#active.delete(target);
      return undefined;
    }
    active.left -= 1;
    return active.fault;
  }

  list(): readonly Fault[] {
    return [...this.#active.values()]
      .filter(({ left, until }) => left > 0 && this.#now() < until)
      .map(({ fault }) => fault);
  }
}

function holds({ pathname, searchParams }: URL, text: string): boolean {
  return pathname.includes(text) || [...searchParams.values()].some((value) => value.includes(text));
}

/** The fault described, or all that is wrong with the description. */
export function readFault(value: unknown): { fault: Fault } | { problems: string[] } {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const problems: string[] = [];
  const oneOf = (field: string, values: readonly string[]): void => {
    if (!values.includes(given[field] as string)) problems.push(`${field}: must be one of ${values.join(', ')}`);
  };
  const wholeNumber = (field: string, min: number, max: number): void => {
    const number = given[field];
    if (number === undefined) return;
    if (!Number.isInteger(number) || (number as number) < min || (number as number) > max) {
      problems.push(`${field}: must be a whole number from ${min} to ${max}`);
    }
  };
  oneOf('target', faultTargets);
  oneOf('mode', faultModes);
  wholeNumber('status', 400, 599);
  if (given.matching !== undefined && typeof given.matching !== 'string') problems.push('matching: must be a text');
  wholeNumber('times', 1, 1_000_000);
  wholeNumber('forMs', 1, 86_400_000);
  if (problems.length > 0) return { problems };
  const known = ['target', 'mode', 'status', 'matching', 'times', 'forMs'].filter(
    (field) => given[field] !== undefined,
  );
  return { fault: Object.fromEntries(known.map((field) => [field, given[field]])) as unknown as Fault };
}
