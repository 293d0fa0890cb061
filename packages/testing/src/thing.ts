import { topic } from '@dormouse/core';
import * as z from 'zod';

export const asked = topic('thing.asked', { schema: z.object({ n: z.number() }) });
export const told = topic('thing.told', { schema: z.object({ n: z.number() }) });

/** The subscription whose handler a test is about. */
export const taker = 'taker.thing.asked';
