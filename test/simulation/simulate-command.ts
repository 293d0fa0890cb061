import { execFile } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'packages/testing/src/simulation/main.ts');

/** `npm run simulate` with these arguments. */
export function simulateCommand(
  ...given: readonly string[]
): Promise<{ readonly code: number; readonly output: string; readonly errors: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...given], { cwd: root, maxBuffer: 100e6 }, (error, output, errors) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, output, errors });
    });
  });
}
