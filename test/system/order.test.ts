// Real: a host with a service that takes the events of each workflow in their order, and what an operator sees and does.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { send } from './post/send.ts';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

const unordered = join(import.meta.dirname, 'post/by-van.ts');
const byVan = join(import.meta.dirname, 'post/by-ordered-van.ts');
const byBike = join(import.meta.dirname, 'post/by-ordered-bike.ts');
const mended = join(import.meta.dirname, 'post/by-mended-van.ts');

interface Letter {
  readonly id: string;
  readonly held?: number;
  readonly state: string;
}

test('events behind a dead letter are held, shown wherever an operator looks, and go on in order when it is discarded', async () => {
  const system = await stuck();
  await until('all are held', async () => (await system.run(['subscriptions'])).stdout.includes('3 behind 1 workflow'));
  const letter = await deadLetter(system);
  expect(letter.held).toBe(3);
  expect((await system.run(['dead-letters', 'show', letter.id])).stdout).toMatch(/holds +3 later events/);
  await send(system, 'PA-2', { label: 'a' });
  await until('another parcel is brought', async () => (await system.fetch('/api/workflows/PA-2')).ok);

  const discarded = await system.run(['dead-letters', 'discard', letter.id, 'it is lost']);
  expect(discarded.code).toBe(0);
  await reaches(system, 'van: 1 2 3');
  expect((await system.run(['subscriptions'])).stdout).not.toContain('behind');
});

test('what a renamed subscription holds goes to its new name, and follows there in order', async () => {
  const first = await stuck();
  await until('all are held', async () => (await first.run(['subscriptions'])).stdout.includes('3 behind 1 workflow'));
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [byBike], data: first.data });
  await second.program.shows(/Ctrl-C/);
  const moved = await second.run(['subscriptions', 'move', 'van.parcel.sent', 'bike.parcel.sent']);
  expect(moved).toMatchObject({ code: 0, stdout: expect.stringMatching(/3 messages went to bike/) });
  const letter = await deadLetter(second);
  expect(letter.held).toBe(3);
  await send(second, 'PA-1', { label: '4' }, 'sent-4');
  await until('it is held too', async () => (await deadLetter(second)).held === 4);
  await second.run(['dead-letters', 'discard', letter.id, 'it is lost']);
  await reaches(second, 'bike: 1 2 3 4');
});

test('what a removed subscription holds is forgotten with it', async () => {
  const first = await stuck();
  await until('all are held', async () => (await first.run(['subscriptions'])).stdout.includes('3 behind 1 workflow'));
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [byBike], data: first.data });
  await second.program.shows(/Ctrl-C/);
  const forgotten = await second.run(['subscriptions', 'forget', 'van.parcel.sent']);
  expect(forgotten).toMatchObject({ code: 0, stdout: expect.stringMatching(/and 3 messages with it/) });
  expect(await deadLetter(second)).toMatchObject({ state: 'discarded' });
});

test('what holds up a key is sent back by an operator of a system without commands, once it is mended, and all follow in order', async () => {
  const first = await stuck();
  await until('all are held', async () => (await first.run(['subscriptions'])).stdout.includes('3 behind 1 workflow'));
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [mended], data: first.data });
  await second.program.shows(/Ctrl-C/);
  const letter = await deadLetter(second);
  const redriven = await second.run(['dead-letters', 'redrive', letter.id]);
  expect(redriven).toMatchObject({ code: 0, stdout: `${letter.id} goes back to van.parcel.sent\n` });
  await reaches(second, 'van: 0 1 2 3');
  await until('it is resolved', async () => (await deadLetter(second)).state === 'resolved');
  const again = await second.run(['dead-letters', 'redrive', letter.id]);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is resolved; only an open one') });
});

test('a subscription at which messages wait is given order, or relieved of it, at the next start', async () => {
  const first = await RunningSystem.ofThisTest({ args: [unordered] });
  await first.program.shows(/Ctrl-C/);
  await first.run(['subscriptions', 'pause', 'van.parcel.sent']);
  for (const n of [1, 2, 3]) await send(first, 'PA-1', { label: String(n) }, `sent-${n}`);
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [byVan], data: first.data });
  await second.program.shows(/Ctrl-C/);
  expect((await second.run(['subscriptions'])).stdout).toMatch(/van\.parcel\.sent.*paused/);
  await second.run(['subscriptions', 'resume', 'van.parcel.sent']);
  await reaches(second, 'van: 1 2 3');
  await second.run(['subscriptions', 'pause', 'van.parcel.sent']);
  await send(second, 'PA-2', {}, 'sent-4');
  await second.stop();
  const third = await RunningSystem.ofThisTest({ args: [unordered], data: first.data });
  await third.program.shows(/Ctrl-C/);
  await third.run(['subscriptions', 'resume', 'van.parcel.sent']);
  await until('it is brought', async () => (await third.fetch('/api/workflows/PA-2')).ok);
});

/** The first event of a parcel died, and three wait behind it. */
async function stuck(): Promise<RunningSystem> {
  const system = await RunningSystem.ofThisTest({ args: [byVan] });
  await system.program.shows(/Ctrl-C/);
  await send(system, 'PA-1', { fails: 'for good', label: '0' }, 'sent-0');
  for (const n of [1, 2, 3]) await send(system, 'PA-1', { label: String(n) }, `sent-${n}`);
  return system;
}

async function deadLetter(system: RunningSystem): Promise<Letter> {
  return until('one is dead', async () => {
    const { deadLetters } = await system.get<{ deadLetters: Letter[] }>('/api/dead-letters');
    return deadLetters[0];
  });
}

async function reaches(system: RunningSystem, broughtBy: string): Promise<void> {
  await until(`it is brought: ${broughtBy}`, async () => {
    const answer = await system.fetch('/api/workflows/PA-1');
    return answer.ok && ((await answer.json()) as { broughtBy: string }).broughtBy === broughtBy;
  });
}
