import { newPushKey } from '@dormouse/broker';
import type { DataDirectory } from './data-directory.ts';

/** The key that a data directory's pushes are signed with, made at first use. Mode 0600. */
export async function pushKeyOf(directory: DataDirectory): Promise<string> {
  const kept = directory.read('push-key.json');
  if (kept !== undefined) return kept;
  const made = await newPushKey();
  return directory.keep('push-key.json', () => made);
}
