import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from './manifest.ts';

/**
 * Bundles every service of a system into one file each, and writes down what the system declares.
 * In a process of its own that ends with the work: bundling inside the host would take its memory for good.
 */
export async function bundleSystem(systemFile: string, outputFolder: string): Promise<Manifest> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bundle.ts'), systemFile, outputFolder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A Ctrl-C in the terminal is the host's to answer: it finishes its start, then stops.
    detached: true,
  });
  let complaint = '';
  child.stderr.on('data', (chunk) => {
    complaint = (complaint + chunk).slice(-4000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new Error(`the system ${systemFile} cannot be bundled:\n${complaint.trim()}`);
  return JSON.parse(readFileSync(join(outputFolder, 'manifest.json'), 'utf8'));
}
