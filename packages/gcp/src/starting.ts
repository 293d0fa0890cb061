import { causeOf } from '@dormouse/core';

/** Starts what this container is for. Where it cannot it says why, in a line as Cloud Logging reads it, and ends. */
export async function starting(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const line = { severity: 'CRITICAL', message: 'service.unstarted', cause: causeOf(error) };
    process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(1));
  }
}
