import type { Opened } from '../client-process.ts';

/** What the process itself takes. */
export async function open(): Promise<Opened> {
  return { read: async () => {}, write: async () => {} };
}
