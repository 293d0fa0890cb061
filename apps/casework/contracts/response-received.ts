import { topic } from '@dormouse/core';
import * as z from 'zod';

/** A counterparty answered. */
export const responseReceived = topic('response.received', {
  schema: z.object({ letterId: z.string(), decision: z.enum(['accepted', 'rejected']), answeredAt: z.string() }),
});
