import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The case needs a person. */
export const workflowEscalate = topic('workflow.escalate', { schema: z.object({ reasons: z.array(z.string()) }) });
