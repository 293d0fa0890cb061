import { topic } from '@dormouse/core';
import * as z from 'zod';

/** Everything is answered and reviewed: the case closes. */
export const workflowComplete = topic('workflow.complete', { schema: z.object({}) });
