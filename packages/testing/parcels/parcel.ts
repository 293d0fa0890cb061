import { topic, workflow } from '@dormouse/core';
import * as z from 'zod';

/** What a parcel goes through. */
export type Parcel = {
  readonly status: 'posted' | 'collected' | 'received';
  readonly scans: readonly string[];
  readonly reminders: number;
};

export const parcel = workflow<Parcel>({ idPrefix: 'PA' });

export const posted = topic('parcel.posted', { schema: z.object({}) });
export const collected = topic('parcel.collected', { schema: z.object({}) });
export const scanned = topic('parcel.scanned', { schema: z.object({ station: z.string() }) });
export const overdue = topic('parcel.overdue', { schema: z.object({ reminder: z.int() }) });
export const overdueTimer = 'overdue';
