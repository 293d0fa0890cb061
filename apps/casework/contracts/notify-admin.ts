import { topic } from '@dormouse/core';
import * as z from 'zod';

/** Operators are to be told something. */
export const notifyAdmin = topic('notify.admin', { schema: z.object({ subject: z.string(), text: z.string() }) });
