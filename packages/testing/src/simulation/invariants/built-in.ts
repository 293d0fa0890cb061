import type { History } from '../history.ts';
import { effectsOnce } from './effects-once.ts';
import { everyDeliveryEnds } from './every-delivery-ends.ts';
import { inOrder } from './in-order.ts';
import { nothingLost } from './nothing-lost.ts';
import { publishedIsCommitted } from './published-is-committed.ts';
import { settledInOrder } from './settled-in-order.ts';
import { stateIsTheFold } from './state-is-the-fold.ts';
import { timersOnce } from './timers-once.ts';

/** What always holds, of every system. */
export const builtIn: readonly { readonly name: string; readonly check: (history: History) => readonly string[] }[] = [
  { name: 'nothing published is lost', check: nothingLost },
  { name: 'nothing is published that was not committed', check: publishedIsCommitted },
  { name: 'effects happen once', check: effectsOnce },
  { name: 'state is the fold of the log', check: stateIsTheFold },
  { name: 'a timer fires once, or is cancelled', check: timersOnce },
  { name: 'what has an ordering key keeps the order of commits', check: inOrder },
  { name: 'an ordered subscription settles in order', check: settledInOrder },
  { name: 'no delivery ends without a reason', check: everyDeliveryEnds },
];
