import { CommandRefused, command, refOf, workflows } from '@dormouse/core';
import * as z from 'zod';
import { disputeCase, grounds, isOver } from '../case.ts';
import { workflowCancel } from '../contracts/workflow-cancel.ts';
import { aboutCase, readBody } from './body.ts';

const request = z.object({ reason: z.string().min(1).max(500) });

/** Withdraws a case. Refused where it is over. */
export const cancel = command<z.infer<typeof request> & { readonly id: string }, { workflowId: string }>({
  name: 'cancel',
  route: 'POST /api/workflows/:id/cancel',
  summary: 'Withdraws a case. Refused where it is over.',
  body: request,
  output: aboutCase,
  role: 'client',
  parse: ({ body, params }) => ({ ...readBody(body, request), id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  async run({ reason }, step) {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) {
      throw new CommandRefused(
        `case ${found.id} is ${found.data.status}; only a case that is not over can be cancelled`,
      );
    }
    const ground = await step.document(grounds, 'cancelled');
    const told = { outcome: 'cancelled', reasons: [reason] } as const;
    if (ground.exists) ground.update(told);
    else ground.create(told);
    step.publish(workflowCancel, {});
    return { workflowId: found.id };
  },
});
