import { simulation } from '@dormouse/testing';
import { rememberLetters } from '../letters/letter.ts';
import { caseInvariants } from './case-invariants.ts';
import { caseActs, tidyUp } from './simulated-clients.ts';
import { environment, type Outside, playOutside } from './simulated-outside.ts';

// A letter takes as long as everything else in a run together, and is the same in many.
rememberLetters(2_000);

/** One or two cases, four months long, with everything that clients, counterparties and operators may do. */
export default simulation<Outside>({
  environment,
  faultsFor: '120d',
  outside: playOutside,
  acts: (world) =>
    Array.from({ length: world.chance.pick('cases', [1, 1, 1, 2]) }, (_, index) => caseActs(world, index + 1)).flat(),
  mend: tidyUp,
  invariants: caseInvariants,
});
