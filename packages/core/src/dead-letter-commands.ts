import * as z from 'zod';
import { type Command, CommandRefused, command, InvalidInput } from './command.ts';
import { deadLetters } from './dead-letter.ts';
import { refOf } from './state-store.ts';

const answer = z.object({ deadLetterId: z.string() });
const grounds = z.object({ reason: z.string().min(1).max(500) });

/** What of a system's declaration these commands go by. */
export interface DeclaredReaders {
  readonly services: readonly { readonly subscriptions: readonly Reader[] }[];
}

interface Reader {
  readonly name: string;
  /** False where the reader is another command: nobody tells what became of a redrive there. */
  readonly dormouse: boolean;
}

/**
 * The commands of a system with those that every system has: an operator sends a dead letter back, or leaves it for good. One of
 * its own by the same route takes their place.
 */
export function commandsOf(own: readonly Command[], { services }: DeclaredReaders): readonly Command[] {
  const readers = services.flatMap(({ subscriptions }) => subscriptions);
  const foreign = new Set(readers.filter(({ dormouse }) => !dormouse).map(({ name }) => name));
  const taken = new Set(own.map(({ route }) => shapeOf(route)));
  return [...own, ...[redriving(foreign), discarding].filter(({ route }) => !taken.has(shapeOf(route)))];
}

function redriving(foreign: ReadonlySet<string>): Command {
  return command<{ readonly id: string }, z.infer<typeof answer>>({
    name: 'redriveDeadLetter',
    route: 'POST /api/dead-letters/:id/redrive',
    summary: 'Sends a dead letter back to the one subscription that failed. Refused where it is not open.',
    output: answer,
    parse: ({ params }) => ({ id: params.id! }),
    subject: ({ id }) => ({ ref: refOf(deadLetters, id) }),
    async run({ id }, step) {
      const { state, subscription } = await step.deadLetter(id);
      if (state !== 'open') {
        throw new CommandRefused(`dead letter "${id}" is ${state}; only an open one can be redriven`);
      }
      await step.redrive(id, { foreign: foreign.has(subscription) });
      return { deadLetterId: id };
    },
  });
}

const discarding = command<{ readonly id: string; readonly reason: string }, z.infer<typeof answer>>({
  name: 'discardDeadLetter',
  route: 'POST /api/dead-letters/:id/discard',
  summary: 'Leaves a dead letter as it is, for good; what it held up goes on. Refused where it is not open.',
  body: grounds,
  output: answer,
  parse: ({ body, params }) => ({ ...groundsIn(body), id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(deadLetters, id) }),
  async run({ id, reason }, step) {
    await step.discard(id, reason);
    return { deadLetterId: id };
  },
});

/** @throws InvalidInput */
function groundsIn(body: string): z.infer<typeof grounds> {
  let given: unknown;
  try {
    given = JSON.parse(body);
  } catch (error) {
    throw new InvalidInput([{ path: '', message: (error as Error).message }]);
  }
  const parsed = grounds.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new InvalidInput(parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
}

/** What a parameter is called makes no other route. */
function shapeOf(route: string): string {
  return route.replaceAll(/:\w+/g, ':');
}
