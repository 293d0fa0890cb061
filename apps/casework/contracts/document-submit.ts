import { topic } from '@dormouse/core';
import * as z from 'zod';
import { fileRef } from './file-ref.ts';

/** One letter is written: it goes to its counterparty. */
export const documentSubmit = topic('document.submit', { schema: z.object({ letterId: z.string(), file: fileRef }) });
