import { system, topic } from '@dormouse/core';
import * as z from 'zod';

export const teaSteeped = topic('tea.steeped', { schema: z.object({ sip: z.int() }) });

/** The smallest system that waits: a tea that steeps, then is offered to a guest for three days. */
export default system('tea', {
  topics: [teaSteeped],
  services: { table: './table.ts' },
  commands: './commands.ts',
  sandbox: './guest.ts',
});
