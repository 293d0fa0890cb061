import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The case is withdrawn. */
export const workflowCancel = topic('workflow.cancel', { schema: z.object({ reason: z.string() }) });
