import { type Clock, DormouseError } from '@dormouse/core';
import type { DataDirectory } from './data-directory.ts';
import { LockFile } from './lock-file.ts';

const pauseMs = 200;
const waitMs = 60_000;

/** Runs while no backup copies the files: it would lack what the documents it holds name. @throws DormouseError `store.unavailable` */
export async function holdingFiles<T>(
  directory: Pick<DataDirectory, 'join'>,
  clock: Clock,
  work: () => Promise<T>,
): Promise<T> {
  const until = clock.steady() + waitMs;
  for (;;) {
    const lock = LockFile.take(directory.join('files.lock'));
    if (lock) return work().finally(() => lock.release());
    if (clock.steady() > until) {
      throw new DormouseError(
        'store.unavailable',
        'a backup is being made for more than a minute; wait until it is done',
      );
    }
    await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
  }
}
