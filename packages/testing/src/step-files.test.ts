// The files of a workflow, as its steps see them.
import { expect, test } from 'vitest';
import { EndpointBench, event } from './endpoint-bench.ts';

test('a file whose content is not what was written is never handed to a handler', async () => {
  let told: unknown;
  await using bench = await EndpointBench.with(async (_event, step) => {
    const file = await step.files.put('note.txt', 'ours');
    told = await step.files.text({ ...file, sha256: '0'.repeat(64) }).catch(({ code }) => code);
  });
  await bench.deliver(event('E1'));
  expect(told).toBe('blob.damaged');
});

test('a step opens no files but its own workflow’s', async () => {
  const causes: string[] = [];
  await using bench = await EndpointBench.with(async (_event, step) => {
    const own = await step.files.put('note.txt', 'ours');
    expect(await step.files.read(own)).toBeDefined();
    for (const key of ['WF-2/abc/note.txt', 'WF-10/abc/note.txt', '../WF-1/abc/note.txt']) {
      await step.files.text({ ...own, key }).catch(({ code }) => causes.push(code));
    }
  });
  await bench.deliver(event('E1'));
  expect(causes).toEqual(['blob.missing', 'blob.missing', 'blob.missing']);
});
