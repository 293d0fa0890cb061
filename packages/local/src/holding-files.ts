import { type Clock, CommandRefused } from '@dormouse/core';
import type { DataDirectory } from './data-directory.ts';
import { LockFile } from './lock-file.ts';

const pauseMs = 200;
const waitMs = 60_000;

/** Runs while no backup copies the files: it would lack what the documents it holds name. @throws CommandRefused where one takes too long */
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
      throw new CommandRefused('a backup is being made, which holds the files; do it again when that is done');
    }
    await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
  }
}
