// Real: a host whose system was changed between two starts, so that a subscription with a backlog is not declared any more.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { send } from './post/send.ts';
import { dormouse } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

const byVan = join(import.meta.dirname, 'post/by-van.ts');
const byBike = join(import.meta.dirname, 'post/by-bike.ts');

test('what waits at a renamed subscription is shown, and goes to its new name: messages, retries, dead letters', async () => {
  const system = await leftBehind();
  expect(system.program.stderr).toMatch(
    /does not declare van\.parcel\.sent any more; \d+ messages wait there · .*subscriptions move/,
  );
  expect((await system.run(['topics'])).stdout).toMatch(/van\.parcel\.sent +\d+, not declared any more/);
  const doctor = await system.run(['doctor']);
  expect(doctor.stdout).toMatch(/warn +backlog +van\.parcel\.sent on parcel\.sent is not declared any more: \d+ wait/);
  // Declared ones are not for moving, and it moves only to one of its topic.
  for (const [from, to, message] of [
    ['bike.parcel.sent', 'bike.parcel.sent', /is declared by this system/],
    ['van.parcel.sent', 'van.other', /no subscription of this system/],
    ['nobody', 'bike.parcel.sent', /there is no subscription/],
  ] as const) {
    const { code, stderr } = await system.run(['subscriptions', 'move', from, to]);
    expect({ code, known: message.test(stderr) }).toEqual({ code: 1, known: true });
  }

  const moved = await system.run(['subscriptions', 'move', 'van.parcel.sent', 'bike.parcel.sent']);
  expect(moved).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^van\.parcel\.sent is gone; \d+ messages went to bike/),
  });
  // Two that waited, and the one whose retry was set by the van.
  for (const id of ['PA-1', 'PA-2', 'PA-8']) {
    await until(`${id} is brought`, async () => (await system.fetch(`/api/workflows/${id}`)).ok);
    expect(await system.get(`/api/workflows/${id}`)).toEqual({ id, broughtBy: 'bike' });
  }
  const { deadLetters } = await system.get<{ deadLetters: unknown[] }>('/api/dead-letters');
  expect(deadLetters).toMatchObject([{ subscription: 'bike.parcel.sent', state: 'open' }]);
  expect((await system.run(['topics'])).stdout).not.toContain('van');
  await system.stop();
  expect((await dormouse(['doctor', '--data', system.data])).stdout).not.toContain('van');
});

test('a removed subscription is forgotten with all that waits there, and holds nothing back any more', async () => {
  const system = await leftBehind();
  const forgotten = await system.run(['subscriptions', 'forget', 'van.parcel.sent']);
  expect(forgotten).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^van\.parcel\.sent is gone, and \d+ messages with it/),
  });
  expect((await system.run(['topics'])).stdout).not.toContain('van');
  const { deadLetters } = await system.get<{ deadLetters: unknown[] }>('/api/dead-letters');
  expect(deadLetters).toMatchObject([{ subscription: 'van.parcel.sent', state: 'discarded' }]);
  expect(await system.get('/api/workflows')).toEqual({ workflows: [] });
});

/** The post goes by bike now, and what the van had not done waits: two parcels, a retry and a dead letter. */
async function leftBehind(): Promise<RunningSystem> {
  const first = await RunningSystem.ofThisTest({ args: [byVan] });
  await first.program.shows(/Ctrl-C/);
  await send(first, 'PA-8', { fails: 'once' });
  await send(first, 'PA-9', { fails: 'for good' });
  await until('one is dead', async () => {
    const { deadLetters } = await first.get<{ deadLetters: unknown[] }>('/api/dead-letters');
    return deadLetters.length === 1;
  });
  await until('one is tried', () => first.run(['logs', '--json']).then(({ stdout }) => stdout.includes('a flat tyre')));
  expect((await first.run(['subscriptions', 'pause', 'van.parcel.sent'])).code).toBe(0);
  await send(first, 'PA-1', {});
  await send(first, 'PA-2', {});
  await first.stop();
  const second = await RunningSystem.ofThisTest({ args: [byBike], data: first.data });
  await second.program.shows(/Ctrl-C/);
  return second;
}
