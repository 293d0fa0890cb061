// Real: processes that never listen.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { ServicePool } from './activator.ts';
import type { ManifestService } from './manifest.ts';

const sleeps = "console.log('starting'); setInterval(() => {}, 1000);";

test.each(['bundle', 'command'] as const)(
  'a %s that never listens is given up after a bound, and nothing of it stays',
  async (kind) => {
    const folder = mkdtempSync(join(tmpdir(), 'dormouse-activator-'));
    const file = join(folder, 'sleeps.mjs');
    writeFileSync(file, sleeps);
    const run: ManifestService['run'] =
      kind === 'bundle' ? { kind, file, source: file } : { kind, command: [process.execPath, file], folder };
    const pids: number[] = [];
    const log = (_moment: string, { pid }: Record<string, unknown> = {}) => {
      if (pid !== undefined) pids.push(Number(pid));
    };
    const failed = Promise.withResolvers<void>();
    const pool = new ServicePool(
      { name: 'slow', run, subscriptions: [], limits: { concurrency: 1, maxInstances: 1 } },
      {
        clock: systemClock,
        log: { info: log, warn: log, error: () => failed.resolve() },
        idleMs: 60_000,
        startTimeoutMs: 5_000,
        socketFolder: folder,
        environment: {},
        settings: {
          system: 'test',
          stateSocketPath: '',
          stateToken: '',
          filesFolder: folder,
          pushes: { issuer: '', publicKeys: { keys: [] } },
        },
        audienceOf: () => '',
      },
      [9],
    );
    onTestFinished(async () => {
      await pool.stop();
      rmSync(folder, { recursive: true });
    });
    expect(pool.take()).toBeUndefined();
    await failed.promise;
    const { state, failing, lastExit } = pool.status();
    expect(state).toBe('failing');
    expect(failing).toMatchObject({ failures: 1, reason: 'did not listen within 5 s', output: 'starting' });
    expect(lastExit?.reason).toBe('did not listen within 5 s');
    // Asked while it waits for its next try, it starts none.
    expect(pool.take()).toBeUndefined();
    expect(pool.status().wakes).toBe(1);
    await expect.poll(() => pids.filter((pid) => isAlive(pid))).toEqual([]);
  },
);

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
