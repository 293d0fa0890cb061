import { topic } from '@dormouse/core';
import * as z from 'zod';

/** Everything is answered and reviewed, or a person decided: the case closes. */
export const workflowComplete = topic('workflow.complete', {
  schema: z.object({ decision: z.object({ kind: z.enum(['accept', 'close']), reason: z.string() }).optional() }),
});
