import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../deploy/image-folder.ts';
import { Engines, enginesMissing } from '../test/gcp/engines.ts';
import { GoogleSystem } from '../test/gcp/google-system.ts';
import { type Asked, type Dispute, openDispute, untilClosed } from './dispute.ts';
import { stops } from './journey-client.ts';
import { playRound } from './journey-round.ts';
import type { RoundResult } from './journey-worker.ts';
import { publishTo, woken } from './looked-at.ts';
import type { Measure } from './measurement.ts';
import { memoryOf } from './proc.ts';
import { median, quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { megabytes, ms, ratio, table, whole } from './table.ts';

const everyMs = 1_000;
const lookEveryMs = 2;

const contenders = {
  'local: a host and its processes': ['journey-dormouse.ts', 'processes'],
  'gcp: Firestore emulator, our broker': ['journey-google.ts', 'onBroker'],
  'gcp: emulators of Firestore and Pub/Sub': ['journey-google.ts', 'onEmulators'],
} as const;
type Contender = keyof typeof contenders;

interface Wake {
  /** From the start of its process until it has done the first delivery: on one machine committed it, on Google's engines answered it. */
  readonly wakeMs: number;
  readonly rssBytes: number;
}
type Wakes = Readonly<Record<string, readonly Wake[]>>;

/** The same services on both platforms: what they need to wake, and how fast they take steps. */
export const measurePlatforms: Measure = async ({ quick, progress }) => {
  const missing = enginesMissing();
  if (missing !== undefined) throw new Error(`platforms: ${missing}`);
  const rounds = quick ? 2 : 20;
  const local = await wakesOfHost(rounds);
  progress(`local: ${rounds} wakes of each service`);
  const google = await wakesOfGoogle(rounds);
  progress(`gcp: ${rounds} wakes of each service`);
  const sizes = quick
    ? { inFlight: 5, warmMs: 500, forMs: 4_000, openCount: 4 }
    : { inFlight: 20, warmMs: 5_000, forMs: 20_000, openCount: 30 };
  const journeys: Record<Contender, RoundResult[]> = {
    'local: a host and its processes': [],
    'gcp: Firestore emulator, our broker': [],
    'gcp: emulators of Firestore and Pub/Sub': [],
  };
  for (let round = 1; round <= (quick ? 1 : 3); round++) {
    for (const [name, client] of Object.entries(contenders) as [Contender, readonly [string, string]][]) {
      const result = await playRound({ client, at: { port: 0, name: `p-${round}` }, everyMs, ...sizes });
      journeys[name].push(result);
      progress(`round ${round}: ${name}: ${whole(result.stepsPerSecond!)} steps/s`);
    }
  }
  return {
    report: `${wakeTable(local, google)}\n\n${stepTable(journeys, sizes.inFlight)}`,
    figures: { wakes: { local, google }, everyMs, ...sizes, journeys },
  };
};

async function wakesOfHost(rounds: number): Promise<Wakes> {
  const host = await RunningHost.start('--no-sample', '--idle', '500ms');
  try {
    const dispute = await untilClosed(host, await openDispute(host));
    await host.untilAllSleep();
    let end = host.log(0).end;
    return await each(rounds, async (service, id) => {
      await publishTo(host, service, dispute, id);
      for (;;) {
        const { lines } = host.log(end);
        const of = (moment: string) => lines.find((line) => line.moment === moment && line.service === service);
        const [starting, committed] = [of('instance.starting'), of('step.committed')];
        if (starting && committed) {
          const { rssBytes } = memoryOf(committed.pid);
          await host.untilAllSleep();
          end = host.log(end).end;
          return { wakeMs: Date.parse(committed.time) - Date.parse(starting.time), rssBytes };
        }
        await pause(lookEveryMs);
      }
    });
  } finally {
    await host.stop();
  }
}

async function wakesOfGoogle(rounds: number): Promise<Wakes> {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-bench-gcp-'));
  const systemFile = join(import.meta.dirname, '../apps/casework/system.ts');
  const images = join(folder, 'images');
  await makeImageFolders({ systemFile, out: images });
  const manifest = await describeSystem(systemFile, images);
  try {
    await using engines = await Engines.start();
    await using system = await GoogleSystem.start({
      engines,
      manifest,
      images,
      folder,
      wire: 'broker',
      idleMs: 60_000,
    });
    const dispute = await closedDispute(system);
    await system.until('all is sent', () => system.isQuiet());
    await system.cloudRun.stopInstances();
    return await each(rounds, async (service, id) => {
      await publishTo(publisher(system), service, dispute, id);
      for (;;) {
        const [instance] = system.cloudRun.instances(service);
        if (instance?.answeredMs !== undefined) {
          const wake = { wakeMs: instance.answeredMs, rssBytes: memoryOf(instance.process.pid!).rssBytes };
          await system.cloudRun.stopInstances();
          return wake;
        }
        await pause(lookEveryMs);
      }
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In turn, so that whatever else the machine does meets all of them. */
async function each(rounds: number, wake: (service: string, id: string) => Promise<Wake>): Promise<Wakes> {
  const wakes: Record<string, Wake[]> = Object.fromEntries(woken.map((service) => [service, []]));
  for (let round = 0; round < rounds; round++) {
    for (const service of woken) wakes[service]!.push(await wake(service, `bench-${service}-${round}`));
  }
  return wakes;
}

function closedDispute(system: GoogleSystem): Promise<Dispute> {
  const asked: Asked = {
    get: (path) => system.get(path),
    post: async <T>(path: string, body: unknown) =>
      (await (await system.ask(path, { method: 'POST', body: JSON.stringify(body) })).json()) as T,
  };
  return openDispute(asked).then((id) => untilClosed(asked, id));
}

function publisher(system: GoogleSystem): Pick<RunningHost, 'publish'> {
  return {
    async publish(topic, data, attributes) {
      const encoded = Buffer.from(JSON.stringify(data)).toString('base64');
      await system.pubsub.publish(topic, [{ data: encoded, attributes }]);
    },
  };
}

function wakeTable(local: Wakes, google: Wakes): string {
  const row = (service: string, mine: readonly Wake[], theirs: readonly Wake[]) => {
    const times = [mine, theirs].map((wakes) => wakes.map(({ wakeMs }) => wakeMs)) as [number[], number[]];
    const memory = [mine, theirs].map((wakes) => median(wakes.map(({ rssBytes }) => rssBytes))) as [number, number];
    const [here, there] = times.map(median) as [number, number];
    return [
      service,
      ...[here, quantile(times[0], 0.95), there, quantile(times[1], 0.95)].map(ms),
      ratio(there / here),
      ...memory.map(megabytes),
    ];
  };
  return table(
    `platforms: a service wakes, ${Object.values(local)[0]!.length} times each; medians`,
    [
      ['', 'local', 'p95', 'gcp', 'p95', 'gcp / local', 'memory, local', 'gcp'],
      ...Object.keys(local).map((service) => row(service, local[service]!, google[service]!)),
      row('all', Object.values(local).flat(), Object.values(google).flat()),
    ],
    [
      'From the start of its process until its first delivery, about a case that is closed, is committed (local, by the host’s log) or answered (gcp). Memory: RSS then.',
      'local: the bundle, state and push over the host’s sockets. gcp: the image by the stand-in for Cloud Run, Google’s Firestore emulator over REST, our broker’s push with its',
      'token, small servers of ours in place of Cloud Storage, Cloud Tasks and the metadata server. All on this machine: what a network adds is in neither.',
    ],
  );
}

function stepTable(journeys: Readonly<Record<Contender, readonly RoundResult[]>>, inFlight: number): string {
  const rateOf = (name: Contender) => median(journeys[name].map(({ stepsPerSecond }) => stepsPerSecond!));
  const here = rateOf('local: a host and its processes');
  const rows = (Object.keys(contenders) as Contender[]).map((name) => {
    const times = journeys[name].flatMap(({ journeyMs }) => journeyMs);
    const rate = rateOf(name);
    return [name, whole(rate), ratio(rate / here), ms(quantile(times, 0.5)), ms(quantile(times, 0.95))];
  });
  return table(
    `platforms: journeys of ${stops} steps, ${inFlight} in flight, steps/s; then one begun each ${everyMs / 1000} s, ${(1000 / everyMs) * stops} steps/s; medians`,
    [['', 'steps/s', 'beside local', 'a journey, p50', 'p95'], ...rows],
    [
      'The journey of `journey`, whose step reads and writes one document and publishes. local: SQLite, synced before each answer, one process for its only service.',
      'Google’s emulators keep everything in memory, and their Pub/Sub pushes two messages at a time; tokens are added on the way, since it sends none. The JVMs share',
      'the two cores with the services. What Google’s own engines do under load, none of this tells: there a step is three round trips to them.',
    ],
  );
}
