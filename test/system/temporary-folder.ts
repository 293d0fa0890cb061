import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A folder for all tests of a file, that goes with them. Only at the top of a file: it registers its own end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
