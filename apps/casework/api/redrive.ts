import { CommandRefused, command, deadLetters, refOf } from '@dormouse/core';
import { retryFailed } from '../contracts/retry-failed.ts';
import { aboutDeadLetter } from './body.ts';

/** Sends a dead letter back to the one subscription that failed: as every system has it, but through `retry.failed`, which others may publish, too. */
export const redrive = command<{ readonly id: string }, { deadLetterId: string }>({
  name: 'redriveDeadLetter',
  route: 'POST /api/dead-letters/:id/redrive',
  summary: 'Sends a dead letter back to the one subscription that failed.',
  output: aboutDeadLetter,
  role: 'operator',
  parse: ({ params }) => ({ id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(deadLetters, id) }),
  async run({ id }, step) {
    const { state } = await step.deadLetter(id);
    if (state !== 'open') throw new CommandRefused(`dead letter "${id}" is ${state}; only an open one can be redriven`);
    step.publish(retryFailed, { deadLetterId: id });
    return { deadLetterId: id };
  },
});
