// Real: processes that wait, and become a service.
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ref, StateStore } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { Spares } from './spares.ts';
import { StateServer } from './state-wire.ts';

const spareProcess = join(import.meta.dirname, 'spare-process.ts');

/** A process starts, and loads its sources. */
const within = { timeout: 20_000 };

/** Takes a while to load, as a bundle does. */
const slowService = `
import { setTimeout } from 'node:timers/promises';
process.stdout.write('loading');
await setTimeout(500);
process.stdin.resume();
setInterval(() => {}, 1000);
`;

class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'dormouse-spares-'));
  readonly environment: Record<string, string> = {};
  readonly moments: string[] = [];
  /** What the state store is asked. */
  readonly asked: string[] = [];
  readonly spares: Spares;

  constructor() {
    const stateSocketPath = join(this.folder, 'state');
    const store = new Proxy({} as StateStore, {
      get: (_store, method) => async (refs: readonly Ref[]) => {
        this.asked.push(String(method));
        return refs.map((ref) => ({ ref, version: null, data: null, tenant: null }));
      },
    });
    const stateServer = new StateServer(store, 'secret');
    void stateServer.listen(stateSocketPath);
    const settings = {
      system: 'test',
      stateSocketPath,
      stateToken: 'secret',
      filesFolder: '',
      pushes: { issuer: '', publicKeys: { keys: [] } },
    };
    writeFileSync(join(this.folder, 'service.mjs'), slowService);
    const record = (moment: string) => void this.moments.push(moment);
    const log = { info: record, warn: record, error: record };
    this.spares = new Spares(1, spareProcess, this.environment, settings, log);
    onTestFinished(() => {
      this.spares.stop();
      stateServer.close();
      rmSync(this.folder, { recursive: true });
    });
  }

  take() {
    const taken = this.spares.take({ file: join(this.folder, 'service.mjs'), instance: '{}' })!;
    onTestFinished(() => void taken.kill('SIGKILL'));
    return taken;
  }
}

test('a spare rehearses a push, up to what its handler would do, and writes nothing', async () => {
  const bench = new Bench();
  await expect.poll(() => bench.asked, within).toEqual(['get']);
  await expect.poll(() => readdirSync(bench.folder).sort(), within).toEqual(['service.mjs', 'state']);
  await once(bench.take().stdout!, 'data');
  expect(bench.asked).toEqual(['get']);
});

test('a spare whose host goes while it loads its service ends', async () => {
  const taken = new Bench().take();
  await once(taken.stdout!, 'data');
  taken.stdin!.end();
  expect(await once(taken, 'exit')).toEqual([0, null]);
});

test('where no process is to be had, a spare that was taken is not made up for, and that is all', async () => {
  const bench = new Bench();
  const taken = bench.take();
  // Longer than the system takes: the next start throws, as one without memory or file descriptors.
  bench.environment.TOO_LONG = 'x'.repeat(200_000);
  taken.kill('SIGKILL');
  await once(taken, 'exit');
  await expect.poll(() => bench.moments, within).toEqual(['spare.started', 'spare.lost']);
  expect(bench.spares.take({ file: '', instance: '' })).toBeUndefined();
});
