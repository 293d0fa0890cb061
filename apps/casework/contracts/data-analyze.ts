import { topic } from '@dormouse/core';
import * as z from 'zod';
import { fileRef } from './file-ref.ts';

/** The statement is there: wrong charges are to be found. */
export const dataAnalyze = topic('data.analyze', { schema: z.object({ statement: fileRef }) });
