import { topic } from '@dormouse/core';
import * as z from 'zod';
import { fileRef } from './file-ref.ts';

/** A case was opened: intake is to validate and route it. */
export const workflowInitiate = topic('workflow.initiate', { schema: z.object({ request: fileRef }) });
