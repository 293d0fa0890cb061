import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The client is to be told something. Who that is stays in the case. */
export const notifyClient = topic('notify.client', {
  schema: z.object({ about: z.enum(['opened', 'submitted', 'closed', 'rejected', 'escalated', 'cancelled']) }),
});
