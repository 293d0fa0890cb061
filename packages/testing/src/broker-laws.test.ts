// Properties: whatever is done to a broker, in whatever order, killed and started again in between, the laws of its
// deliveries hold. They stand in broker-world.ts. DORMOUSE_SEED plays a run again, DORMOUSE_RUNS plays more.
import fc from 'fast-check';
import { test } from 'vitest';
import { type Command, World, type WorldConfig } from './broker-world.ts';

const seed = Number(process.env.DORMOUSE_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.DORMOUSE_RUNS ?? 25);

const which = fc.nat({ max: 1_000 });
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      count: fc.integer({ min: 1, max: 4 }),
      key: fc.constantFrom('', 'a', 'b'),
    }),
    weight: 4,
  },
  { arbitrary: fc.record({ kind: fc.constant('pull' as const), max: fc.integer({ min: 1, max: 6 }) }), weight: 6 },
  {
    arbitrary: fc.record({
      kind: fc.constantFrom('ack' as const, 'ack' as const, 'nack' as const, 'extend' as const),
      which,
      isOld: fc.integer({ max: 5, min: 0 }).map((number) => number === 0),
    }),
    weight: 10,
  },
  {
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 1_000, 5_000, 11_000, 61_000) }),
    weight: 4,
  },
  { arbitrary: fc.record({ kind: fc.constant('seek' as const), which }), weight: 1 },
  {
    arbitrary: fc.record({
      kind: fc.constantFrom('snapshot' as const, 'restore' as const, 'crash' as const, 'reopen' as const),
    }),
    weight: 2,
  },
);

const plain: WorldConfig = {
  enableMessageOrdering: false,
  enableExactlyOnceDelivery: false,
  retainAckedMessages: false,
  hasDeadLetters: false,
  backsOff: false,
};

test.each<[string, Partial<WorldConfig>]>([
  ['of any kind', {}],
  ['that is ordered', { enableMessageOrdering: true }],
  ['that delivers exactly once', { enableExactlyOnceDelivery: true }],
  ['that has a dead-letter policy', { hasDeadLetters: true }],
  [
    'that is ordered, exactly once, with dead letters',
    { enableMessageOrdering: true, enableExactlyOnceDelivery: true, hasDeadLetters: true },
  ],
])(
  'the laws hold for a subscription %s',
  async (_what, always) => {
    const config = fc
      .record({
        enableMessageOrdering: fc.boolean(),
        enableExactlyOnceDelivery: fc.boolean(),
        retainAckedMessages: fc.boolean(),
        hasDeadLetters: fc.boolean(),
        backsOff: fc.boolean(),
      })
      .map((some) => ({ ...plain, ...some, ...always }));
    const commands = fc.array(command, { minLength: 5, maxLength: 80, size: 'max' });
    const property = fc.asyncProperty(config, commands, async (config, commands) => {
      await using world = await World.open(config);
      for (const each of commands) await world.play(each);
      await world.drain();
    });
    await fc.assert(property, { numRuns, seed, includeErrorInReport: true, interruptAfterTimeLimit: 45_000 });
  },
  120_000,
);
