import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Manifest } from '@dormouse/local';
import { UsageError } from './usage-error.ts';

const timeoutMs = 60_000;

/**
 * What a system's file declares. Its code is loaded in a thread that ends with it: what a module begins when it is loaded keeps nobody
 * waiting, and what it prints is not among the answer. @throws UsageError
 */
export async function declaredIn(systemFile: string): Promise<Manifest> {
  if (!existsSync(systemFile)) throw new UsageError(`there is no system file ${systemFile}`);
  const worker = new Worker(new URL('./declared-worker.ts', import.meta.url), { workerData: systemFile, stdout: true });
  try {
    return await manifestFrom(worker);
  } catch (error) {
    throw new UsageError(`the system ${systemFile} does not load: ${(error as Error).message}`, { cause: error });
  } finally {
    await worker.terminate();
  }
}

function manifestFrom(worker: Worker): Promise<Manifest> {
  return new Promise((resolve, reject) => {
    const late = `it is not done after ${timeoutMs / 1000} s; does a module wait for something when it is imported?`;
    const timer = setTimeout(() => reject(new Error(late)), timeoutMs);
    worker.on('message', ({ manifest, problem }: { manifest?: Manifest; problem?: string }) => {
      if (manifest) resolve(manifest);
      else reject(new Error(problem));
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      clearTimeout(timer);
      reject(new Error('its code ended the process when it was imported'));
    });
  });
}
