import { command, deadLetters, refOf } from '@dormouse/core';
import * as z from 'zod';
import { aboutDeadLetter, readBody } from './body.ts';

const request = z.object({ reason: z.string().min(1).max(500) });

/** Leaves a dead letter as it is, for good. Refused where it is not open. */
export const discard = command<z.infer<typeof request> & { readonly id: string }, { deadLetterId: string }>({
  name: 'discard',
  route: 'POST /api/dead-letters/:id/discard',
  summary: 'Leaves a dead letter as it is, for good. Refused where it is not open.',
  body: request,
  output: aboutDeadLetter,
  role: 'operator',
  parse: ({ body, params }) => ({ ...readBody(body, request), id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(deadLetters, id) }),
  async run({ id, reason }, step) {
    await step.discard(id, reason);
    return { deadLetterId: id };
  },
});
