import { isUtf8 } from 'node:buffer';
import { parentPort, workerData } from 'node:worker_threads';
import type { Udf } from './message-transform.ts';
import { Sandbox, type UdfMetadata } from './sandbox.ts';
import type { Outcome, WorkerData, WorkerRequest, WorkerResponse } from './transforms.ts';

/** Functions that are kept loaded; each has an engine of its own, of a few megabytes. */
const maxSandboxes = 16;
const hanging: Outcome = { failed: 'a function did not end, and was stopped' };
const sandboxes = new Map<string, Sandbox>();
const { progress } = workerData as WorkerData;

parentPort!.on('message', async (request: WorkerRequest) => {
  const response: WorkerResponse = { id: request.id, outcomes: await outcomesOf(request) };
  parentPort!.postMessage(response);
});

async function outcomesOf({ udfs, messages, hung, untilFailure }: WorkerRequest): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  if (messages.length === 0) return [hung.length > 0 ? hanging : await watched(0, () => loaded(udfs))];
  for (const [index, { data, attributes, metadata }] of messages.entries()) {
    const outcome: Outcome = hung.includes(index)
      ? hanging
      : await watched(index, () => transformed(udfs, data, attributes, metadata));
    outcomes.push(outcome);
    if (untilFailure && outcome.failed !== undefined) break;
  }
  return outcomes;
}

/** Which message, then that its functions run: whoever watches sees the second. Each function has its own time. */
async function watched(index: number, run: () => Promise<Outcome>): Promise<Outcome> {
  Atomics.store(progress, 0, index);
  Atomics.add(progress, 1, 1);
  try {
    return await run();
  } finally {
    Atomics.add(progress, 1, 1);
  }
}

async function loaded(udfs: readonly Udf[]): Promise<Outcome> {
  for (const udf of udfs) {
    Atomics.add(progress, 1, 2);
    try {
      await sandboxOf(udf);
    } catch (error) {
      return failed(udf, error);
    }
  }
  return {};
}

async function transformed(
  udfs: readonly Udf[],
  data: string,
  attributes: Readonly<Record<string, string>>,
  metadata: UdfMetadata,
): Promise<Outcome> {
  const bytes = Buffer.from(data, 'base64');
  if (!isUtf8(bytes)) return { failed: 'its data is no UTF-8, and functions take strings' };
  let message = { data: bytes.toString(), attributes };
  for (const udf of udfs) {
    Atomics.add(progress, 1, 2);
    try {
      const sandbox = await sandboxOf(udf);
      const result = sandbox.apply(message, metadata);
      if (result === null) return { filtered: true };
      message = result;
    } catch (error) {
      return failed(udf, error);
    }
  }
  return { data: Buffer.from(message.data).toString('base64'), attributes: message.attributes };
}

function failed({ functionName }: Udf, error: unknown): Outcome {
  return { failed: `function "${functionName}": ${(error as Error).message}` };
}

async function sandboxOf(udf: Udf): Promise<Sandbox> {
  const key = `${udf.functionName} ${udf.code}`;
  let sandbox = sandboxes.get(key);
  sandboxes.delete(key);
  if (sandbox?.isBroken) {
    sandbox.dispose();
    sandbox = undefined;
  }
  sandbox ??= await Sandbox.open(udf);
  sandboxes.set(key, sandbox);
  if (sandboxes.size > maxSandboxes) {
    const [oldest, unused] = sandboxes.entries().next().value!;
    sandboxes.delete(oldest);
    unused.dispose();
  }
  return sandbox;
}
