// Real: a running system whose machine's clock is set back and forward while work is under way.
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, smallStatement } from '../system/case-request.ts';
import { kill } from '../system/process-family.ts';
import { RunningSystem } from '../system/running-system.ts';
import { StatementServer } from '../system/statement-server.ts';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { until } from '../system/until.ts';

const hour = 3_600_000;
const day = 24 * hour;
const merchant = 'Corner Café';
const datePath = join(temporaryFolder(), 'date');
const dateFile = openSync(datePath, 'w');

let bank: StatementServer;
let system: RunningSystem;
let silent: string;
let times = 0;

beforeAll(async () => {
  setClock(0);
  bank = await StatementServer.start();
  system = await RunningSystem.start({
    args: ['--no-sample', '--idle', '2s'],
    environment: {
      NODE_OPTIONS: `--require ${join(import.meta.dirname, 'shifted-date.cjs')}`,
      DORMOUSE_TEST_DATE: datePath,
      CASEWORK_RESPONSE_DEADLINE: '18h',
      CASEWORK_REMINDERS: '1',
    },
  });
  const replies = { [merchant]: 'silent' };
  silent = await system.open(caseRequest({ statement: { inline: smallStatement(merchant) }, sandbox: { replies } }));
  await system.reaches(silent, 'tracking');
});
afterAll(() => {
  system?.destroy();
  bank?.close();
  closeSync(dateFile);
});

test('set back a day: nothing freezes, nothing happens twice, no deadline passes', async () => {
  setClock(0);
  const cases = await workUnderWay('back');
  setClock(-day);
  await allClose(cases);
  expect(await reminders()).toBe(0);
  // Idle time is no matter of dates.
  await until(
    'all services asleep',
    async () => (await system.services()).every(({ state }) => state === 'asleep'),
    20_000,
  );
});

test('set forward a day: deadlines that have passed are acted on within a minute, nothing else is hurried', async () => {
  const cases = await workUnderWay('forward');
  setClock(day);
  await allClose(cases);
  await until('the silent counterparty is reminded', async () => (await reminders()) === 1, 75_000);
  // The first letter and one reminder, each once.
  const { counts } = await system.records(silent);
  expect(counts.submission).toEqual({ effects: 2, distinctKeys: 2, repeats: 0 });
  expect(await system.statusOf(silent)).toBe('tracking');
}, 150_000);

/** In place: nobody reads half of it. */
function setClock(offsetMs: number): void {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(offsetMs);
  writeSync(dateFile, bytes, 0, 8, 0);
}

/** Cases with everything that has a time of its own: a lease, the wire's backoff, a retry, an answer to come. */
async function workUnderWay(direction: string): Promise<{ readonly held: string; readonly all: string[] }> {
  const name = `${direction}-${++times}`;
  const open = (path: string) =>
    system.open(caseRequest({ statement: { url: bank.on(path, 'hold', JSON.stringify(smallStatement(merchant))) } }));
  const killed = await open(`/${name}-killed.json`);
  await until('the bank is asked', () => bank.asked(`/${name}-killed.json`) === 1);
  for (const { pid } of system.program.family.find('data.mjs')) kill(pid, 'SIGKILL');
  // Text messages are refused until the clock is set.
  const fault = JSON.stringify({ target: 'sms', mode: 'status' });
  expect((await system.fetch('/sandbox/faults', { method: 'PUT', body: fault })).status).toBe(200);
  const retried = await system.open(caseRequest({ statement: { inline: smallStatement(merchant) } }));
  const held = await open(`/${name}-held.json`);
  await until('the bank is asked', () => bank.asked(`/${name}-held.json`) === 1);
  const answered = await system.open(caseRequest());
  await system.reaches(answered, 'tracking');
  expect((await system.trace(retried)).map(({ status }) => status)).toContain('retrying');
  return { held: `/${name}-held.json`, all: [killed, retried, held, answered] };
}

/** The held one is answered now: whoever asked is still waiting. */
async function allClose({ held, all }: { readonly held: string; readonly all: readonly string[] }): Promise<void> {
  await system.fetch('/sandbox/faults', { method: 'DELETE' });
  bank.release(held, JSON.stringify(smallStatement(merchant)));
  for (const id of all) await system.reaches(id, 'closed');
  expect(bank.asked(held)).toBe(1);
  for (const id of all) {
    const settled = (status: string) => status === 'done' || status === 'cancelled';
    await until('all is quiet', async () => (await system.trace(id)).every(({ status }) => settled(status)));
    type Letters = { documents: { reminders?: number }[] };
    const letters = (await system.get<Letters>(`/api/workflows/${id}/documents/letters`)).documents;
    // A deadline that passes with the clock, before its answer comes, is reminded of.
    const handedIn = letters.reduce((sum, { reminders = 0 }) => sum + 1 + reminders, 0);
    const { counts } = await system.records(id);
    expect(counts.submission).toEqual({ effects: handedIn, distinctKeys: handedIn, repeats: 0 });
    expect(counts.mail).toMatchObject({ effects: 3, distinctKeys: 3 });
    expect(counts.sms).toMatchObject({ effects: 3, distinctKeys: 3 });
  }
}

async function reminders(): Promise<number> {
  const path = `/api/workflows/${silent}/documents/letters`;
  const { documents } = await system.get<{ documents: { reminders?: number }[] }>(path);
  return documents[0]!.reminders ?? 0;
}
