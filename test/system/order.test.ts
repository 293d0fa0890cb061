// Real: a host with a service that takes the events of each workflow in their order, and what an operator sees and does.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { send } from './post/send.ts';
import { Program } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

const unordered = join(import.meta.dirname, 'post/by-van.ts');
const byVan = join(import.meta.dirname, 'post/by-ordered-van.ts');
const byBike = join(import.meta.dirname, 'post/by-ordered-bike.ts');

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

test('order is asked for of a subscription that exists: made anew where nothing waits, refused with the remedy where messages do', async () => {
  const first = await RunningSystem.ofThisTest({ args: [unordered] });
  await first.program.shows(/Ctrl-C/);
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [byVan], data: first.data });
  await second.program.shows(/Ctrl-C/);
  await second.run(['subscriptions', 'pause', 'van.parcel.sent']);
  await send(second, 'PA-1', { label: '1' });
  await second.stop();
  const third = Program.dormouse(['start', unordered, '--data', first.data, '--port', '0']);
  const { code, stderr } = await third.finished();
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/subscription "van\.parcel\.sent" exists with order.*another `name`.*subscriptions move/s);
});

/** The first event of a parcel died, and three wait behind it. */
async function stuck(): Promise<RunningSystem> {
  const system = await RunningSystem.ofThisTest({ args: [byVan] });
  await system.program.shows(/Ctrl-C/);
  await send(system, 'PA-1', { fails: 'for good' }, 'sent-0');
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
