import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from './manifest.ts';

const timeoutMs = 60_000;

/** The sources do not make a system: they do not parse, do not load, or declare what does not fit. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

/**
 * Bundles every service of a system into one file each, and writes down what the system declares.
 * In a process of its own that ends with the work: bundling inside the host would take its memory for good.
 * @throws BundleError; what the signal aborts with
 */
export async function bundleSystem(systemFile: string, outputFolder: string, signal?: AbortSignal): Promise<Manifest> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bundle.ts'), systemFile, outputFolder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A Ctrl-C in the terminal is the host's to answer: it finishes its start, then stops.
    detached: true,
    ...(signal && { signal, killSignal: 'SIGKILL' }),
  });
  let complaint = '';
  child.stderr.on('data', (chunk) => {
    complaint = (complaint + chunk).slice(-4000);
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  }).finally(() => clearTimeout(timer));
  if (isLate)
    complaint += `it is not done after ${timeoutMs / 1000} s; does a module wait for something when it is imported?`;
  if (code !== 0) throw new BundleError(`the system ${systemFile} does not build:\n${withoutNode(complaint)}`);
  return JSON.parse(readFileSync(join(outputFolder, 'manifest.json'), 'utf8'));
}

/** What a person who mends the sources needs: not where in Node or in the bundler it was noticed. */
function withoutNode(complaint: string): string {
  const own = join(import.meta.dirname, '/');
  return complaint
    .split('\n')
    .filter(
      (line) =>
        !(/^\s+at /.test(line) && (line.includes('node:') || line.includes(own))) && !/^Node\.js v\d/.test(line),
    )
    .join('\n')
    .replace(/^node:.*:\d+\n.*\n\s*\^\n+/m, '')
    .replace(/ \{\n {2}code: '\w+'\n\}/, '')
    .replace(/\n{2,}/g, '\n')
    .trim();
}
