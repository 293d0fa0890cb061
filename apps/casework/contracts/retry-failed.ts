import { topic } from '@dormouse/core';
import * as z from 'zod';

/** An operator wants a dead letter redriven. */
export const retryFailed = topic('retry.failed', { schema: z.object({ deadLetterId: z.string() }) });
