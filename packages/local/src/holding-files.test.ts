import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { holdingFiles } from './holding-files.ts';
import { LockFile } from './lock-file.ts';

/** A clock that moves when it is waited for. */
function hurriedClock(onWait: () => void): Clock {
  let now = 0;
  const after = (ms: number, callback: () => void) => {
    now += ms;
    onWait();
    queueMicrotask(callback);
    return () => {};
  };
  return { now: () => now, steady: () => now, at: (time, callback) => after(time - now, callback), after };
}

function folder(): { join(...names: string[]): string } {
  const path = mkdtempSync(join(tmpdir(), 'dormouse-holding-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return { join: (...names) => join(path, ...names) };
}

test('files are removed once no backup copies them, and no backup begins meanwhile', async () => {
  const directory = folder();
  const backup = LockFile.take(directory.join('files.lock'))!;
  let waits = 0;
  const clock = hurriedClock(() => {
    if (++waits === 3) backup.release();
  });
  const removed = await holdingFiles(directory, clock, async () => [
    waits,
    LockFile.take(directory.join('files.lock')) === undefined,
  ]);
  expect(removed).toEqual([3, true]);
  LockFile.take(directory.join('files.lock'))!.release();
});

test('a backup that takes longer than a minute is named', async () => {
  const directory = folder();
  const backup = LockFile.take(directory.join('files.lock'))!;
  const held = holdingFiles(
    directory,
    hurriedClock(() => {}),
    async () => {},
  );
  await expect(held).rejects.toMatchObject({
    code: 'command.refused',
    message: expect.stringContaining('a backup is being made'),
  });
  backup.release();
});
