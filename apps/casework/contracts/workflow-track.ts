import { topic } from '@dormouse/core';
import * as z from 'zod';

/** One letter is with its counterparty: its answer is awaited until a deadline, or where the case is cancelled, it is withdrawn. */
export const workflowTrack = topic('workflow.track', { schema: z.object({ letterId: z.string() }) });
