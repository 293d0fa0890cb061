// Real: a host that is killed while it opens a case. Who asks again with the same key gets the one case.
import { expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { RunningSystem } from './running-system.ts';

test('a host killed at any moment of opening a case: the same key opens it once, and any number of times', async () => {
  let data: string | undefined;
  const opened: string[] = [];
  // Before it is read, in the midst of it, after the answer.
  for (const [index, killAfterMs] of [0, 3, 8, 1_000].entries()) {
    const body = JSON.stringify(caseRequest({ clientId: `client-${index}` }));
    const ask = (system: RunningSystem) =>
      system.fetch('/api/workflows/create', {
        method: 'POST',
        headers: { 'idempotency-key': `"round ${index}"` },
        body,
      });
    const first: RunningSystem = await RunningSystem.ofThisTest({ args: ['--no-sample'], ...(data && { data }) });
    ({ data } = first);
    const answer = ask(first).then(
      async (response) => ((await response.json()) as { workflowId: string }).workflowId,
      () => undefined,
    );
    await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, killAfterMs))]);
    first.destroy();

    const second = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
    const ids = await Promise.all(
      [1, 2, 3].map(async () => ((await (await ask(second)).json()) as { workflowId: string }).workflowId),
    );
    const told = await answer;
    expect(new Set(told === undefined ? ids : [told, ...ids]).size).toBe(1);
    opened.push(ids[0]!);
    const { workflows } = await second.get<{ workflows: { id: string }[] }>('/api/workflows');
    expect(workflows.map(({ id }) => id).toSorted()).toEqual(opened.toSorted());
    second.destroy();
  }
});
