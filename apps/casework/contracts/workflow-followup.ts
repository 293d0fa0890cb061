import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The deadline of a letter has passed: it is reminded of, or after the last reminder given up on. */
export const workflowFollowup = topic('workflow.followup', {
  schema: z.object({ letterId: z.string(), reminder: z.int().positive() }),
});
