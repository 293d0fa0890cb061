import { topic } from '@dormouse/core';
import * as z from 'zod';

/** One letter was submitted: its answer is awaited until a deadline. */
export const workflowTrack = topic('workflow.track', { schema: z.object({ letterId: z.string() }) });
