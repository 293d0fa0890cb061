import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';

/** A message that is kept takes some 700, its place and time alone 40. */
const mostBytesAMessage = 30;

test.for([
  'pulled and acked',
  'streamed and acked',
  'pulled, and extended again and again',
  'pulled and nacked, and waiting',
  'published, and waiting',
])('memory does not grow with the messages that were %s', async (what) => {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-memory-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const program = join(import.meta.dirname, 'memory-load.ts');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program, folder, what]);
  const { messagesARound, bytes } = JSON.parse(stdout) as { messagesARound: number; bytes: number[] };
  // The first round fills what is bounded: code, caches, the last settlements.
  const grown = (bytes.at(-1)! - bytes[0]!) / (messagesARound * (bytes.length - 1));
  expect(grown).toBeLessThan(mostBytesAMessage);
});
