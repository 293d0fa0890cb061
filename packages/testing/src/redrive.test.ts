// What becomes of a dead letter that is sent back to its subscription.
import { decodeMarks, PermanentError } from '@dormouse/core';
import { expect, test } from 'vitest';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { asked, taker } from './thing.ts';

test('a dead letter that is redriven runs again, and is resolved when it settles', async () => {
  let broken = true;
  await using bench = await EndpointBench.with(
    async ({ data }, step) => {
      if (data.n === 0) {
        const documents = await bench.deadLetters();
        await step.redrive(documents[0]!.data!.id as string);
      } else if (broken) throw new Error('broken');
      else (await step.workflow(thing)).update({ n: 1 });
    },
    { retry: { attempts: 2, minBackoff: '0s' } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  broken = false;
  await bench.deliver(event('E2', { n: 0 }));
  const [redriven] = bench.published(asked);
  expect(decodeMarks(redriven!.attributes)).toMatchObject({ to: taker, attempt: 3 });
  await bench.deliver(redriven!);
  expect(await bench.read(wf)).toEqual({ n: 1 });
  const documents = await bench.deadLetters();
  expect(documents.map(({ data }) => data!.state)).toEqual(['resolved']);
});

test('a dead letter of a timer that was cancelled since is resolved by its redrive, without a run', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(
    async ({ data }, step) => {
      if (data.n === 1) step.publish(asked, { n: 2 }, { after: '1h', timer: 'reminder' });
      else if (data.n === 3) await step.cancelTimer('reminder');
      else if (data.n === 4) {
        const documents = await bench.deadLetters();
        await step.redrive(documents[0]!.data!.id as string);
      } else {
        runs++;
        throw new PermanentError('broken');
      }
    },
    { retry: { attempts: 1 } },
  );
  await bench.deliver(event('E1'));
  const [timer] = await bench.timers();
  await bench.deliver(timer!.message);
  await bench.deliver(event('E2', { n: 3 }));
  await bench.deliver(event('E3', { n: 4 }));
  const [redriven] = bench.published(asked);
  await bench.deliver(redriven!);
  expect(runs).toBe(1);
  const documents = await bench.deadLetters();
  expect(documents.map(({ data }) => data!.state)).toEqual(['resolved']);
});
