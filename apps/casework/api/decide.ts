import { CommandRefused, command, refOf, workflows } from '@dormouse/core';
import * as z from 'zod';
import { disputeCase } from '../case.ts';
import { workflowComplete } from '../contracts/workflow-complete.ts';
import { aboutCase, readBody } from './body.ts';

const request = z.object({ decision: z.enum(['accept', 'close']), reason: z.string().min(1).max(500) });

/** A person decides what becomes of an escalated case. Refused for any other. */
export const decide = command<z.infer<typeof request> & { readonly id: string }, { workflowId: string }>({
  name: 'decide',
  route: 'POST /api/workflows/:id/decision',
  summary: 'Decides on an escalated case. Refused for any other.',
  body: request,
  output: aboutCase,
  role: 'operator',
  parse: ({ body, params }) => ({ ...readBody(body, request), id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  async run({ decision: kind, reason }, step) {
    const found = await step.workflow(disputeCase);
    const { status } = found.data;
    if (status !== 'escalated')
      throw new CommandRefused(`case ${found.id} is ${status}; only an escalated case waits for a decision`);
    step.note(`${kind}: ${reason}`);
    step.publish(workflowComplete, { decision: { kind, reason } });
    return { workflowId: found.id };
  },
});
