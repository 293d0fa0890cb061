import { topic } from '@dormouse/core';
import * as z from 'zod';

/** The case is to be checked before it closes. */
export const complianceReview = topic('compliance.review', { schema: z.object({}) });
