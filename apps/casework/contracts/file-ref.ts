import * as z from 'zod';

/** How an event names a file: statements and findings travel as files, never inside events. */
export const fileRef = z.object({
  key: z.string(),
  name: z.string(),
  sha256: z.string(),
  bytes: z.int().nonnegative(),
  contentType: z.string(),
  personal: z.literal(true).optional(),
});
