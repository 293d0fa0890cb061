import { topic, workflow } from '@dormouse/core';
import * as z from 'zod';

export const parcelSent = topic('parcel.sent', {
  schema: z.object({ fails: z.enum(['once', 'for good']).optional(), label: z.string().optional() }),
});
export const parcel = workflow<{ id: string; broughtBy: string }>({ idPrefix: 'PA' });
