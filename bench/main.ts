import { parseArgs } from 'node:util';
import type { Measure } from './measurement.ts';
import { saveResults } from './results.ts';

const measures: Readonly<Record<string, () => Promise<Measure>>> = {
  wake: async () => (await import('./wake.ts')).measureWake,
  asleep: async () => (await import('./asleep.ts')).measureAsleep,
  steps: async () => (await import('./steps.ts')).measureSteps,
  cases: async () => (await import('./cases.ts')).measureCases,
  burst: async () => (await import('./burst.ts')).measureBurst,
  closed: async () => (await import('./closed.ts')).measureClosed,
  dev: async () => (await import('./dev.ts')).measureDev,
  sync: async () => (await import('./sync.ts')).measureSync,
  pubsub: async () => (await import('./pubsub.ts')).measurePubsub,
  streaming: async () => (await import('./streaming.ts')).measureStreaming,
  fanout: async () => (await import('./fanout.ts')).measureFanout,
  'push-latency': async () => (await import('./push-latency.ts')).measurePushLatency,
  backlog: async () => (await import('./backlog.ts')).measureBacklog,
  queue: async () => (await import('./queue.ts')).measureQueue,
  journey: async () => (await import('./journey.ts')).measureJourney,
  commits: async () => (await import('./commits.ts')).measureCommits,
  platforms: async () => (await import('./platforms.ts')).measurePlatforms,
  'google-case': async () => (await import('./google-case.ts')).measureGoogleCase,
  'firestore-clients': async () => (await import('./firestore-clients.ts')).measureFirestoreClients,
};

const usage = `Usage: npm run bench -- [${Object.keys(measures).join('|')}]... [--quick] [--own]

  --quick  a fifth of the work, to see that it runs
  --own    journey: ours alone, without the engines and queues beside it
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    own: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const unknown = positionals.find((name) => !Object.hasOwn(measures, name));
if (values.help || unknown !== undefined) {
  process.stderr.write(unknown === undefined ? usage : `bench: there is no measure "${unknown}"\n${usage}`);
  process.exit(unknown === undefined ? 0 : 1);
}

const names = positionals.length > 0 ? positionals : Object.keys(measures);
const save = await saveResults({ quick: values.quick, measures: names });
for (const name of names) {
  const measure = await measures[name]!();
  const { report, figures } = await measure({
    quick: values.quick,
    own: values.own,
    progress: (text) => process.stderr.write(`${name}: ${text}\n`),
  });
  process.stdout.write(`${report}\n\n`);
  // After each one: a run that is cut short keeps what it has.
  process.stderr.write(`${name}: kept in ${save(name, figures)}\n`);
}
