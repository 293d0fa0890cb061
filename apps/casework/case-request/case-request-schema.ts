import * as z from 'zod';
import { lineKinds } from '../statement/statement.ts';
import { clientIdPattern, sandboxReplies } from './case-request.ts';

const text = z.string().min(1);
const date = z.string().meta({ description: 'a real date, YYYY-MM-DD' });
const minor = z.int().min(0).meta({ description: 'in minor units of the statement’s currency' });
const period = z.object({ from: date, to: date });

const statement = z.object({
  accountId: text,
  holder: text,
  currency: z.string().length(3).meta({ description: 'ISO 4217' }),
  period,
  openingMinor: z.int().optional(),
  closingMinor: z.int().optional().meta({ description: 'given together with openingMinor or not at all' }),
  lines: z.array(
    z.object({
      id: text,
      date,
      merchant: text,
      description: z.string(),
      amountMinor: minor,
      kind: z.enum(lineKinds),
    }),
  ),
  terms: z
    .object({
      recurring: z
        .array(
          z.object({
            merchant: text,
            amountMinor: minor,
            interval: z.enum(['month', 'year']),
            since: date,
            cancelledAt: date.optional(),
          }),
        )
        .optional(),
      fees: z.array(z.object({ name: text, maxMinor: minor })).optional(),
      refundsPromised: z
        .array(z.object({ merchant: text, amountMinor: minor, promisedAt: date, dueBy: date }))
        .optional(),
    })
    .optional(),
});

/**
 * The form of a case request, for the API's description and for clients generated from it. What is checked is more than a
 * schema can say (`parseCaseRequest`, which lists every problem by its path); whatever that takes fits this.
 */
export const caseRequestSchema = z.object({
  clientId: z.string().regex(clientIdPattern),
  client: z.object({
    name: text,
    email: text.meta({ description: 'name@host' }),
    phone: text.meta({ description: 'E.164: + and 7 to 15 digits' }),
  }),
  consent: z
    .object({
      signedAt: text.nullish().meta({ description: 'a date, or a date with a time' }),
      scopes: z.array(text).nullish(),
    })
    .nullish(),
  payment: z.object({ reference: text.nullish(), status: text.nullish() }).nullish(),
  documents: z.array(z.object({ kind: text, name: text })).nullish(),
  statement: z.union([
    z.object({ source: z.literal('sandbox-bank'), accountId: text, period }),
    z.object({ url: z.url({ protocol: /^https?$/ }) }),
    z.object({ inline: statement }),
  ]),
  sandbox: z
    .object({ replies: z.record(z.string(), z.enum(sandboxReplies)).optional() })
    .optional()
    .meta({ description: 'how the sandbox’s counterparties answer, by merchant' }),
});
