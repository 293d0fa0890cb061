// Real: processes that die of a message. Takes as long as the backoff between their deaths.
import { expect, test } from 'vitest';
import { RunningSystem } from './running-system.ts';
import { SmallSystem, take } from './small-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();

test('a message that kills its process takes no other with it, and is dead-lettered with the cause', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts'");
  // All are in the process at once; then one of them kills it.
  small.service(
    'scribe',
    `    if (text === 'poison') process.kill(process.pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 200));
    (await step.workflow(note)).update({ seen: text });`,
  );
  const system = await RunningSystem.ofThisTest({ args: [small.systemFile] });
  const innocent = await Promise.all(['one', 'two', 'three'].map((text) => take(system, text)));
  const poison = await take(system, 'poison');
  innocent.push(await take(system, 'four'));
  for (const id of innocent) {
    await until(`${id} is seen`, async () => (await system.get<{ seen?: string }>(`/api/workflows/${id}`)).seen);
    expect((await system.trace(id))[0]).toMatchObject({ status: 'done', attempts: 1, errors: [] });
  }
  const [letter] = await until(
    'a dead letter',
    async () => {
      const { deadLetters } = await system.get<{ deadLetters: object[] }>('/api/dead-letters');
      return deadLetters.length > 0 ? deadLetters : undefined;
    },
    90_000,
  );
  expect(letter).toMatchObject({
    code: 'delivery.deadly',
    cause: expect.stringMatching(/its process died 4 times, the last time alone/),
    workflow: `workflows/${poison}`,
    state: 'open',
  });
  expect((await system.trace(poison))[0]).toMatchObject({ status: 'dead-lettered' });
  const after = await take(system, 'five');
  await until(`${after} is seen`, async () => (await system.get<{ seen?: string }>(`/api/workflows/${after}`)).seen);
}, 120_000);
