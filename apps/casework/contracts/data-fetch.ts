import { topic } from '@dormouse/core';
import * as z from 'zod';
import { fileRef } from './file-ref.ts';

/** Intake took the case: its statement is to be retrieved. */
export const dataFetch = topic('data.fetch', { schema: z.object({ request: fileRef }) });
