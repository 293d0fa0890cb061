import { command, InvalidInput, refOf, workflows } from '@dormouse/core';
import * as z from 'zod';
import { disputeCase, letters } from '../case.ts';
import { responseReceived } from '../contracts/response-received.ts';
import { settings } from '../settings.ts';
import { verifyWebhook } from '../webhook/standard-webhook.ts';
import { readBody } from './body.ts';

const answer = z.object({
  type: z.literal('dispute.answered'),
  timestamp: z.iso.datetime(),
  data: z.object({
    workflowId: z.string().startsWith(`${disputeCase.idPrefix}-`),
    letterId: z.string().min(1),
    decision: z.enum(['accepted', 'rejected']),
  }),
});

type Answer = z.infer<typeof answer> & { readonly webhookId: string };

/** A counterparty's answer comes in, by signed webhook. The same webhook twice is the same answer. */
export const respond = command<Answer, { received: true }>({
  name: 'respond',
  route: 'POST /api/responses',
  summary: 'A counterparty’s answer to a letter: a webhook signed as Standard Webhooks has it.',
  body: answer,
  output: z.object({ received: z.literal(true) }),
  authentication: 'none',
  from: 'counterparty',
  parse({ headers, body }, now) {
    const id = headers.get('webhook-id') ?? '';
    const verdict = verifyWebhook({
      id,
      timestamp: headers.get('webhook-timestamp') ?? '',
      signature: headers.get('webhook-signature') ?? '',
      body,
      secret: settings.webhookSecret,
      now,
    });
    if (!verdict.ok) throw new InvalidInput([{ path: 'webhook-signature', message: verdict.reason }]);
    return { ...readBody(body, answer), webhookId: id };
  },
  subject: ({ data, webhookId }) => ({
    ref: `${refOf(workflows, data.workflowId)}/${refOf(letters.name, data.letterId)}`,
    key: webhookId,
  }),
  async run({ data, timestamp }, step) {
    const letter = await step.document(letters, data.letterId);
    step.publish(responseReceived, { letterId: letter.id, decision: data.decision, answeredAt: timestamp });
    return { received: true };
  },
});
