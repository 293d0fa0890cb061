import * as z from 'zod';
import { topic } from './topic.ts';

/** Topics that Dormouse itself publishes to. A system declares who listens. */
export const deadLetter = topic('dead.letter', {
  raw: true,
  schema: z.unknown(),
});

/** Every log and journal entry, as it is committed: a projection, itself never logged. */
export const auditLog = topic('audit.log', { schema: z.unknown() });
