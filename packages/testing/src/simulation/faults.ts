import type { Choices } from './choices.ts';
import type { Trace } from './trace.ts';

/**
 * What may go wrong, each at the points where it can: how likely it is there in an ordinary run. How rough a run is to
 * be is drawn for each fault anew, so that among many runs there are some with much of one and little of another.
 */
export const faults = {
  'message.delayed': { about: 'a message takes long to arrive, and others overtake it', chance: 0.05 },
  'message.duplicated': { about: 'a message is handed over twice', chance: 0.05 },
  'message.undeliverable': { about: 'a service cannot be reached', chance: 0.02 },
  'ack.lost': { about: 'the broker does not learn that a delivery was settled', chance: 0.03 },
  'ack.late': { about: 'an answer comes after its lease has expired', chance: 0.01 },
  'step.slow': { about: 'a step stops for so long that its lease expires while it runs', chance: 0.004 },
  'instance.killed': { about: 'a process dies, with all that it holds', chance: 0.006 },
  'host.killed': { about: 'the host dies, and starts again after a while', chance: 0.002 },
  'store.unavailable': { about: 'the store refuses everything for a while', chance: 0.003 },
  'store.conflict': { about: 'a commit is refused, as if something read had moved', chance: 0.02 },
  'store.head-moved': { about: 'a commit is refused, as if only the log had grown', chance: 0.01 },
  'store.answer-lost': { about: 'a commit takes effect, and is answered with an error', chance: 0.01 },
  'broker.unavailable': { about: 'the broker takes no message for a while', chance: 0.01 },
  'broker.killed': { about: 'a broker that is apart dies, and starts again after a while', chance: 0.001 },
  'broker.answer-lost': { about: 'messages are published, and the answer is lost', chance: 0.02 },
  'file.unavailable': { about: 'a file can be neither read nor written', chance: 0.005 },
  'clock.forward': { about: 'the date is set forward', chance: 0.001 },
  'clock.back': { about: 'the date is set back', chance: 0.001 },
  'command.answer-lost': { about: 'a command is done, and whoever gave it does not learn so', chance: 0.03 },
  'outside.refusing': { about: 'someone outside refuses, and does nothing', chance: 0.05 },
  'outside.unreached': { about: 'someone outside cannot be reached', chance: 0.03 },
  'outside.cut-off': { about: 'someone outside does what was asked, and the connection breaks', chance: 0.05 },
  'outside.silent': { about: 'someone outside does what was asked, and never answers', chance: 0.03 },
} as const satisfies Record<string, { readonly about: string; readonly chance: number }>;

export type FaultName = keyof typeof faults;
export const faultNames = Object.keys(faults) as FaultName[];

/** One fault that struck: which, and at which point. The same for the same seed; what shrinking takes away. */
export type Struck = string;

export interface FaultSettings {
  /** Default: all. */
  readonly only?: readonly FaultName[] | undefined;
  /** Nothing else strikes: of a run that is being shrunk. Default: whatever chance decides. */
  readonly allowed?: ReadonlySet<Struck> | undefined;
}

const roughness = [0.3, 1, 1, 3];
/** Of each kind in a run: what is tried again and again would otherwise meet them for ever. */
const mostOfAKind = 10;

/** The faults of one run: whether one strikes is decided by its name and the point's alone. */
export class Faults {
  readonly struck: Struck[] = [];
  readonly #choices: Choices;
  readonly #trace: Trace;
  readonly #chances: ReadonlyMap<FaultName, number>;
  readonly #allowed: ReadonlySet<Struck> | undefined;
  readonly #counts = new Map<FaultName, number>();
  #over = false;

  constructor(choices: Choices, trace: Trace, { only = faultNames, allowed }: FaultSettings) {
    this.#choices = choices;
    this.#trace = trace;
    this.#allowed = allowed;
    this.#chances = new Map(
      only.map((name) => [name, faults[name].chance * choices.pick(`roughness of ${name}`, roughness)]),
    );
  }

  /** @param point a name that no other point of the run has */
  strikes(name: FaultName, point: string, who: string): boolean {
    if (this.#over) return false;
    const chance = this.#chances.get(name);
    if (chance === undefined) return false;
    const count = this.#counts.get(name) ?? 0;
    const nameIt = () => `${name} @ ${point}`;
    if (this.#allowed) {
      if (!this.#allowed.has(nameIt())) return false;
    } else if (count >= mostOfAKind || this.#choices.fractionAt(name, point) >= chance) return false;
    this.#counts.set(name, count + 1);
    this.struck.push(nameIt());
    this.#trace.add(who, `FAULT ${name}: ${faults[name].about}`);
    return true;
  }

  /** From now on all goes well. */
  end(): void {
    this.#over = true;
  }
}
