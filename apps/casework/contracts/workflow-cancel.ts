import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The case is withdrawn. Why stays in the case. */
export const workflowCancel = topic('workflow.cancel', { schema: z.object({}) });
