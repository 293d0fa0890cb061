import { describe, test } from 'vitest';
import { type Pubsub, pubsubOn } from './pubsub.ts';
import type { Target } from './target.ts';

export interface CaseOptions {
  /** Numbers of what may be wrong with a target so that it can not pass: those of `emulator-gaps.ts`. */
  readonly gap?: number | readonly number[];
  /** More time passes in it than can be waited for. */
  readonly takesDays?: boolean;
}

type Run = (pubsub: Pubsub) => Promise<void>;

/** Registers one case. Its title is a fact of Pub/Sub. */
export interface RegisterCase {
  (title: string, run: Run): void;
  (title: string, options: CaseOptions, run: Run): void;
}

/** Some cases about one thing, for any target. */
export type Subject = (target: Target) => void;

/** The cases of a subject run at the same time. */
export function subject(name: string, register: (fact: RegisterCase, target: Target) => void): Subject {
  return (target) => {
    const fact: RegisterCase = (title: string, ...rest: readonly unknown[]) => {
      const run = rest.at(-1) as Run;
      const reason = skipReason(target, rest.length > 1 ? (rest[0] as CaseOptions) : {});
      test(title, async (context) => {
        context.skip(reason !== undefined, reason);
        await using server = await target.open();
        using pubsub = pubsubOn(server);
        await run(pubsub);
      });
    };
    describe.concurrent(`${name}, ${target.name}`, () => register(fact, target));
  };
}

/** One that no other wire has. */
subject.ofGrpc = (name: string, register: (fact: RegisterCase) => void): Subject => {
  const cases = subject(name, register);
  return (target) => {
    if (target.isGrpc) cases(target);
  };
};

function skipReason({ gaps, movesTime }: Target, { gap = [], takesDays = false }: CaseOptions): string | undefined {
  const reasons = [gap].flat().flatMap((number) => (gaps.has(number) ? `gap ${number}: ${gaps.get(number)}` : []));
  if (takesDays && !movesTime) reasons.push('its clock can not be moved');
  return reasons.length > 0 ? reasons.join('; ') : undefined;
}
