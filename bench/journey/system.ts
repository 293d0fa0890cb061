import { system, topic } from '@dormouse/core';
import * as z from 'zod';

/** The traveller is at this stop now. */
export const stopReached = topic('stop.reached', {
  schema: z.object({ stop: z.int().positive(), note: z.string() }),
});

export default system('journey', {
  topics: [stopReached],
  services: { guide: './guide.ts' },
});
