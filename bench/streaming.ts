import { join } from 'node:path';
import { type Message, PubSub } from '@google-cloud/pubsub';
import { inFlight } from './in-flight.ts';
import type { Measure } from './measurement.ts';
import { Program } from './program.ts';
import { freePort, PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { beside, table, whole } from './table.ts';

// The client looks for a machine of Google's otherwise.
process.env.METADATA_SERVER_DETECTION = 'none';

const batch = 100;
const bytes = 256;
/** Not more, or the client's memory is what is measured. */
const unconfirmed = 5_000;
/** The client's own are 1,000, and acks every 100 ms, which lets no server go beyond 10,000 a second. */
const outstanding = 5_000;
const acksEveryMs = 10;

/** Messages a second, by what was done. */
type Rates = Record<string, number>;

/** gRPC by Google's own client: publish in batches, streaming pull with acks; the broker on disk beside the emulator in memory. */
export const measureStreaming: Measure = async ({ quick, progress }) => {
  const runs = quick ? 1 : 5;
  const messages = quick ? 10_000 : 30_000;
  const servers = [await PubsubServer.broker(), await PubsubServer.emulator()].filter((each) => each !== undefined);
  const floor = { name: 'floor', port: await freePort() };
  const program = join(import.meta.dirname, 'floor-grpc.ts');
  const bare = await Program.start(process.execPath, [program, `${floor.port}`], floor.port, {
    cwd: import.meta.dirname,
  });
  try {
    const rates = new Map<string, Rates[]>([...servers, floor].map(({ name }) => [name, []]));
    // The first round warms them up, the emulator's compiler above all.
    for (let run = 0; run <= runs; run++) {
      for (const server of [...servers, floor]) {
        progress(`round ${run} of ${runs}: ${server.name}`);
        const measured = await measureServer(server, messages);
        if (run > 0) rates.get(server.name)!.push(measured);
      }
    }
    return { report: report(servers, rates, messages), figures: Object.fromEntries(rates) };
  } finally {
    for (const server of [...servers, bare]) await server.stop();
  }
};

let names = 0;

async function measureServer({ port }: { readonly port: number }, messages: number): Promise<Rates> {
  const client = new PubSub({ projectId: 'bench', apiEndpoint: `127.0.0.1:${port}` });
  try {
    const [topic] = await client.createTopic(`stream-${++names}`);
    topic.setPublishOptions({ batching: { maxMessages: batch, maxMilliseconds: 5 } });
    const name = `stream-${names}`;
    await topic.createSubscription(name, { ackDeadlineSeconds: 600 });
    const data = Buffer.alloc(bytes, 'x');
    const publishing = () => inFlight(messages, unconfirmed, () => topic.publishMessage({ data }));
    const receiving = async () => {
      const subscription = client.subscription(name, {
        flowControl: { maxMessages: outstanding },
        batching: { maxMilliseconds: acksEveryMs },
      });
      const received = new Set<string>();
      const all = Promise.withResolvers<void>();
      const take = (message: Message) => {
        message.ack();
        received.add(message.id);
        if (received.size === messages) all.resolve();
      };
      subscription.on('message', take).on('error', all.reject);
      await all.promise;
      // Sends the acks that are still with the client.
      await subscription.close();
    };
    const rate = async (work: () => Promise<unknown>) => {
      const startedAt = performance.now();
      await work();
      return (messages / (performance.now() - startedAt)) * 1000;
    };
    return {
      publish: await rate(publishing),
      'streaming pull and ack': await rate(receiving),
      'both at once': await rate(() => Promise.all([receiving(), publishing()])),
    };
  } finally {
    await client.close();
  }
}

function report(
  servers: readonly PubsubServer[],
  rates: ReadonlyMap<string, readonly Rates[]>,
  messages: number,
): string {
  const kinds = Object.keys(rates.get('dormouse')![0]!);
  const of = (kind: string) => servers.map(({ name }) => median(rates.get(name)!.map((each) => each[kind]!)));
  const floor = (kind: string) => whole(median(rates.get('floor')!.map((each) => each[kind]!)));
  return table(
    `Pub/Sub over gRPC by @google-cloud/pubsub: ${bytes} B, batches of ${batch}, ${messages.toLocaleString('en')} messages a measure, medians; messages/s`,
    [
      ['', 'dormouse', 'emulator', 'ratio', 'aim', 'floor'],
      ...kinds.map((kind) => [kind, ...beside(of(kind), whole), '≥ 2 ×', floor(kind)]),
    ],
    [
      'Ours syncs to disk before each answer to a publish; the emulator keeps everything in memory.',
      'Client and server share the machine, and the client takes more CPU time than ours does.',
      `It may hold ${whole(outstanding)} messages, and sends acks every ${acksEveryMs} ms; by its defaults no server gets beyond 10,000 a second.`,
      'floor: a server of grpc-js that counts messages without reading them, and streams as many; the same client. It keeps nothing, leases nothing.',
    ],
  );
}
