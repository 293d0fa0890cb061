import { describe, expect, test } from 'vitest';
import type { Json, PubsubWire, WireError } from './pubsub-wire.ts';

/** A Pub/Sub server under test. */
export interface PubsubServer extends AsyncDisposable {
  readonly wire: PubsubWire;
}

/** What our broker refuses: what is not there yet, and what only Google has. What it does is in the folder `pubsub`. */
export function pubsubSuite(name: string, open: () => Promise<PubsubServer>): void {
  describe(`not here: ${name}`, () => {
    test('inference by a model is Google’s', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { topic } = client;
      const messageTransforms = [{ aiInference: { endpoint: 'projects/p/locations/l/endpoints/e' } }];
      const subscription = { name: resource('subscriptions'), topic, messageTransforms };
      await refuses(client.call('CreateSubscription', subscription), 'UNIMPLEMENTED', 'aiInference');
      const created = client.call('CreateTopic', { name: resource('topics'), messageTransforms });
      await refuses(created, 'UNIMPLEMENTED', 'aiInference');
    });

    test('what only Google has is kept and shown, and refused where it would have to act', async () => {
      await using server = await open();
      const bigqueryConfig = { table: 'project.dataset.table', writeMetadata: true };
      const client = await Client.on(server, { bigqueryConfig });
      expect(await client.call('GetSubscription', { subscription: client.subscription })).toMatchObject({
        bigqueryConfig,
        state: 'RESOURCE_ERROR',
      });
      await refuses(client.pull(1), 'UNIMPLEMENTED', 'bigqueryConfig');
      const topic = resource('topics');
      const kmsKeyName = 'projects/p/locations/l/keyRings/r/cryptoKeys/k';
      await client.call('CreateTopic', { name: topic, kmsKeyName });
      expect(await client.call('GetTopic', { topic })).toMatchObject({ kmsKeyName });
      await refuses(client.call('Publish', { topic, messages: [{ data: 'aGk=' }] }), 'UNIMPLEMENTED', 'kmsKeyName');
    });
  });
}

function resource(kind: string): string {
  return `projects/test/${kind}/r-${crypto.randomUUID()}`;
}

async function refuses(call: Promise<unknown>, status: string, because: string): Promise<void> {
  const refused = await call.then(
    (answer) => ({ status: 'OK', message: JSON.stringify(answer) }),
    (error: WireError) => error,
  );
  expect([refused.status, refused.message]).toEqual([status, expect.stringContaining(because)]);
}

/** A topic with one subscription. */
class Client {
  readonly topic: string;
  readonly subscription: string;
  readonly #wire: PubsubWire;

  private constructor(wire: PubsubWire, topic: string, subscription: string) {
    this.#wire = wire;
    this.topic = topic;
    this.subscription = subscription;
  }

  static async on({ wire }: PubsubServer, subscription: Json = {}): Promise<Client> {
    const client = new Client(wire, resource('topics'), resource('subscriptions'));
    await client.call('CreateTopic', { name: client.topic });
    await client.call('CreateSubscription', { name: client.subscription, topic: client.topic, ...subscription });
    return client;
  }

  async pull(maxMessages: number): Promise<readonly Json[]> {
    const { subscription } = this;
    const { receivedMessages = [] } = await this.call('Pull', { subscription, maxMessages, returnImmediately: true });
    return receivedMessages as Json[];
  }

  call(rpc: string, request: Json): Promise<Json> {
    return this.#wire.call(rpc, request);
  }
}
