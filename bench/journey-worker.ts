import { join } from 'node:path';
import type { EngineAt, JourneyClient } from './journey-client.ts';

export interface Round {
  /** Module and the name of its export. */
  readonly client: readonly [string, string];
  readonly at: EngineAt;
  readonly warmMs: number;
  readonly forMs: number;
  /** With so many in flight. */
  readonly inFlight: number;
  readonly openCount: number;
  /** Of those that begin by the clock, whatever became of the ones before. */
  readonly everyMs: number;
}

export interface RoundResult {
  readonly journeysPerSecond: number;
  /** Of all that were under way meanwhile; undefined where the engine does not tell of single steps. */
  readonly stepsPerSecond: number | undefined;
  /** From the beginning of a journey to its end, of those that begin by the clock. */
  readonly journeyMs: readonly number[];
}

/** One round of one engine, as a process: its client, and its workers where they are the client's own. */
const { client, at, warmMs, forMs, inFlight, openCount, everyMs }: Round = JSON.parse(process.argv[2]!);
const [module, name] = client;
const engine = await ((await import(join(import.meta.dirname, module))) as Record<string, JourneyClient>)[name]!.open(
  at,
);
const ids: string[] = [];

async function travel(): Promise<void> {
  const id = `${at.name}-${ids.length}`;
  ids.push(id);
  await engine.travel(id);
}

/** Journeys a second that came to their end meanwhile, and steps that were done. */
async function closedLoop(durationMs: number): Promise<Omit<RoundResult, 'journeyMs'>> {
  const stepsBefore = engine.steps;
  let stepsPerSecond: number | undefined;
  setTimeout(() => {
    if (stepsBefore !== undefined) stepsPerSecond = (engine.steps! - stepsBefore) / (durationMs / 1000);
  }, durationMs);
  const startedAt = performance.now();
  let done = 0;
  let measured = 0;
  let measuredMs = durationMs;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() - startedAt < durationMs) {
        await travel();
        done++;
        // Up to the last that is over by then: what is left in flight comes to its end faster, with less beside it.
        const ms = performance.now() - startedAt;
        if (ms >= durationMs) continue;
        measured = done;
        measuredMs = ms;
      }
    }),
  );
  return { journeysPerSecond: measured / (measuredMs / 1000), stepsPerSecond };
}

async function openLoop(): Promise<number[]> {
  const startedAt = performance.now();
  const journeys: Promise<number>[] = [];
  for (let n = 0; n < openCount; n++) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, startedAt + n * everyMs - performance.now())));
    const begunAt = performance.now();
    journeys.push(travel().then(() => performance.now() - begunAt));
  }
  return Promise.all(journeys);
}

await closedLoop(warmMs);
const rates = await closedLoop(forMs);
const journeyMs = await openLoop();
await engine.close(ids);
process.send!({ ...rates, journeyMs } satisfies RoundResult, () => process.exit());
