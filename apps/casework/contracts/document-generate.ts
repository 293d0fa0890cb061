import { topic } from '@dormouse/core';
import * as z from 'zod';
import { fileRef } from './file-ref.ts';

/** One counterparty is to get a letter. */
export const documentGenerate = topic('document.generate', {
  schema: z.object({ letterId: z.string(), findings: fileRef }),
});
