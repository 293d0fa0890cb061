import { verifiedChains } from '@dormouse/local';
import type { History } from '../history.ts';

/** Each chain holds, and all its changes together give the document. */
export function stateIsTheFold({ database }: History): string[] {
  return [...verifiedChains(database)].flatMap(({ chain, problem }) =>
    problem === undefined ? [] : [`${chain}: ${problem}`],
  );
}
