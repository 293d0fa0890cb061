import { describe, expect, test } from 'vitest';
import type { Json, PubsubWire, WireError } from './pubsub-wire.ts';

/** A Pub/Sub server under test. */
export interface PubsubServer extends AsyncDisposable {
  readonly wire: PubsubWire;
}

interface Received {
  readonly ackId: string;
  readonly message: {
    readonly data: string;
    readonly messageId: string;
    readonly publishTime: string;
    readonly attributes?: Record<string, string>;
    readonly orderingKey?: string;
  };
}

/**
 * Pub/Sub's semantics, whatever the wire. Each test has topics and subscriptions of its own. Source: google.pubsub.v1.
 */
export function pubsubSuite(name: string, open: () => Promise<PubsubServer>): void {
  describe(`Pub/Sub: ${name}`, () => {
    test('what is published is pulled, with its attributes, once acked never again', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const [messageId] = await client.publish([{ data: base64('hello'), attributes: { a: 'b' }, orderingKey: 'o' }]);
      const [received] = await client.pull(10);
      expect(received!.message).toMatchObject({
        data: base64('hello'),
        attributes: { a: 'b' },
        orderingKey: 'o',
        messageId,
      });
      expect(Date.parse(received!.message.publishTime)).not.toBeNaN();
      await client.acknowledge(received!.ackId);
      expect(await client.pull(10)).toEqual([]);
    });

    test('a leased message is not offered twice', async () => {
      await using server = await open();
      const client = await Client.on(server);
      await client.publish([{ data: base64('1') }]);
      expect(await client.pull(10)).toHaveLength(1);
      expect(await client.pull(10)).toEqual([]);
    });

    test('a pull that may wait answers when something is published', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const waiting = client.call('Pull', { subscription: client.subscription, maxMessages: 10 });
      const [messageId] = await client.publish([{ data: base64('1') }]);
      expect(await waiting).toMatchObject({ receivedMessages: [{ message: { messageId } }] });
    });

    test('a message of attributes alone comes without data', async () => {
      await using server = await open();
      const client = await Client.on(server);
      await client.publish([{ attributes: { a: 'b', __proto__x: 'c' } }]);
      const [received] = await client.pull(1);
      expect(received!.message).toMatchObject({ attributes: { a: 'b', __proto__x: 'c' } });
      expect(received!.message.data ?? '').toBe('');
    });

    test('every subscription has a cursor of its own', async () => {
      await using server = await open();
      const one = await Client.on(server);
      const other = await one.another();
      await one.publish([{ data: base64('1') }]);
      const [received] = await one.pull(1);
      await one.acknowledge(received!.ackId);
      expect(await other.pull(1)).toHaveLength(1);
    });

    test('an ack id is good for no other subscription', async () => {
      await using server = await open();
      const one = await Client.on(server);
      const other = await one.another();
      await one.publish([{ data: base64('1') }]);
      const [received] = await one.pull(1);
      await refuses(other.acknowledge(received!.ackId), 'INVALID_ARGUMENT', 'ack id');
      expect(await other.pull(1)).toHaveLength(1);
    });

    test('a subscription sees nothing published before it was created', async () => {
      await using server = await open();
      const client = await Client.on(server);
      await client.publish([{ data: base64('1') }]);
      const late = await client.another();
      expect(await late.pull(1)).toEqual([]);
    });

    test('acks out of order settle what they name and nothing else', async () => {
      await using server = await open();
      const client = await Client.on(server, { retryPolicy: { minimumBackoff: '0s' } });
      await client.publish(['1', '2', '3'].map((text) => ({ data: base64(text) })));
      const received = await client.pull(3);
      await client.acknowledge(received[2]!.ackId);
      await client.acknowledge(received[0]!.ackId);
      await client.nack(received[1]!.ackId);
      expect((await client.pullSome(3)).map(({ message }) => message.data)).toEqual([base64('2')]);
    });

    test('a nacked message comes again with the id it had, and another ack id', async () => {
      await using server = await open();
      const client = await Client.on(server, { retryPolicy: { minimumBackoff: '0s' } });
      const [messageId] = await client.publish([{ data: base64('1') }]);
      const [received] = await client.pull(1);
      await client.nack(received!.ackId);
      const [again] = await client.pullSome(1);
      expect(again!.message.messageId).toBe(messageId);
      expect(again!.ackId).not.toBe(received!.ackId);
    });

    test('a filter lets through what it matches', async () => {
      await using server = await open();
      const client = await Client.on(server, { filter: 'attributes.kind = "a" OR NOT attributes:kind' });
      await client.publish([
        { data: base64('a'), attributes: { kind: 'a' } },
        { data: base64('b'), attributes: { kind: 'b' } },
        { data: base64('none') },
      ]);
      expect((await client.pull(10)).map(({ message }) => message.data)).toEqual([base64('a'), base64('none')]);
    });

    test.each([
      ['nonsense((', 'filter'],
      ['attributes:a AND attributes:b OR attributes:c', 'parentheses'],
      [`attributes.a = "${'x'.repeat(300)}"`, '256'],
    ])('the filter %j is refused at creation', async (filter, because) => {
      await using server = await open();
      const client = await Client.on(server);
      const name = resource('subscriptions');
      const created = client.call('CreateSubscription', { name, topic: client.topic, filter });
      await refuses(created, 'INVALID_ARGUMENT', because);
    });

    test('a topic is kept with its labels, which a mask can change', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const name = resource('topics');
      const labels = { team: 'a', stage: 'test' };
      expect(await client.call('CreateTopic', { name, labels })).toMatchObject({ name, labels, state: 'ACTIVE' });
      const messageStoragePolicy = { allowedPersistenceRegions: ['europe-west3'] };
      const topic = { name, labels: { team: 'b' }, messageStoragePolicy };
      await client.call('UpdateTopic', { topic, updateMask: 'labels,message_storage_policy' });
      expect(await client.call('GetTopic', { topic: name })).toEqual({ ...topic, state: 'ACTIVE' });
      await client.call('UpdateTopic', { topic: { name }, updateMask: 'labels' });
      expect(await client.call('GetTopic', { topic: name })).toEqual({ name, messageStoragePolicy, state: 'ACTIVE' });
    });

    test('lists come in pages, in the order of names, of one project', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const project = `projects/p-${crypto.randomUUID()}`;
      const names = ['aaa', 'bbb', 'ccc'].map((id) => `${project}/topics/${id}`);
      for (const name of names.toReversed()) await client.call('CreateTopic', { name });
      const first = await client.call('ListTopics', { project, pageSize: 2 });
      expect((first.topics as Json[]).map(({ name }) => name)).toEqual(names.slice(0, 2));
      const next = await client.call('ListTopics', { project, pageSize: 2, pageToken: first.nextPageToken });
      expect((next.topics as Json[]).map(({ name }) => name)).toEqual(names.slice(2));
      expect(next.nextPageToken ?? '').toBe('');
      await refuses(client.call('ListTopics', { project, pageSize: -1 }), 'INVALID_ARGUMENT', '-1');
      await refuses(client.call('ListTopics', { project, pageToken: 'nonsense' }), 'INVALID_ARGUMENT', 'nonsense');
    });

    test('a subscription is kept as it was made, with what was left out filled in', async () => {
      await using server = await open();
      const client = await Client.on(server, {
        labels: { team: 'a' },
        retryPolicy: { minimumBackoff: '1.500s' },
        expirationPolicy: {},
      });
      expect(await client.call('GetSubscription', { subscription: client.subscription })).toEqual({
        name: client.subscription,
        topic: client.topic,
        pushConfig: {},
        ackDeadlineSeconds: 10,
        labels: { team: 'a' },
        retryPolicy: { minimumBackoff: '1.500s', maximumBackoff: '600s' },
        expirationPolicy: {},
        messageRetentionDuration: '604800s',
        state: 'ACTIVE',
      });
    });

    test('a mask changes what it names of a subscription, also inside of a field, and nothing else', async () => {
      await using server = await open();
      const client = await Client.on(server, { labels: { team: 'a' }, retryPolicy: { minimumBackoff: '1s' } });
      const name = client.subscription;
      const subscription = {
        name,
        ackDeadlineSeconds: 30,
        retryPolicy: { minimumBackoff: '3s', maximumBackoff: '4s' },
        labels: {},
      };
      await client.call('UpdateSubscription', {
        subscription,
        updateMask: 'ack_deadline_seconds,retry_policy.maximum_backoff',
      });
      expect(await client.call('GetSubscription', { subscription: name })).toMatchObject({
        ackDeadlineSeconds: 30,
        labels: { team: 'a' },
        retryPolicy: { minimumBackoff: '1s', maximumBackoff: '4s' },
      });
      for (const [updateMask, because] of [
        ['', 'updateMask'],
        ['topic', '"topic"'],
        ['filter', '"filter"'],
        ['nonsense', '"nonsense"'],
        ['retry_policy.nonsense', '"retry_policy.nonsense"'],
      ] as const) {
        await refuses(client.call('UpdateSubscription', { subscription, updateMask }), 'INVALID_ARGUMENT', because);
      }
    });

    test('a topic lists what is subscribed to it', async () => {
      await using server = await open();
      const one = await Client.on(server);
      const other = await one.another();
      const { subscriptions } = await one.call('ListTopicSubscriptions', { topic: one.topic });
      expect(subscriptions).toEqual([one.subscription, other.subscription].sort());
      expect(await one.call('ListTopicSnapshots', { topic: one.topic })).not.toHaveProperty('snapshots.0');
    });

    test('a deleted topic takes no more messages, and its subscriptions keep what they have', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { topic, subscription } = client;
      await client.publish([{ data: base64('1') }]);
      await client.call('DeleteTopic', { topic });
      await refuses(client.publish([{ data: base64('2') }]), 'NOT_FOUND', topic);
      await refuses(client.call('GetTopic', { topic }), 'NOT_FOUND', topic);
      expect(await client.call('GetSubscription', { subscription })).toMatchObject({ topic: '_deleted-topic_' });
      expect(await client.pull(10)).toHaveLength(1);
      await client.call('CreateTopic', { name: topic });
      await client.publish([{ data: base64('3') }]);
      expect(await client.pull(10)).toEqual([]);
    });

    test('a deleted subscription is gone, and its name is free for one that knows nothing of it', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { topic, subscription } = client;
      await client.publish([{ data: base64('1') }]);
      await client.call('DeleteSubscription', { subscription });
      await refuses(client.pull(1), 'NOT_FOUND', subscription);
      await client.call('CreateSubscription', { name: subscription, topic });
      expect(await client.pull(1)).toEqual([]);
    });

    test('a detached subscription stays as a name, and has lost its messages for good', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { topic, subscription } = client;
      await client.publish([{ data: base64('1') }]);
      await client.call('DetachSubscription', { subscription });
      await refuses(client.pull(1), 'FAILED_PRECONDITION', 'detached');
      expect(await client.call('GetSubscription', { subscription })).toMatchObject({ detached: true, topic });
      expect(await client.call('ListTopicSubscriptions', { topic })).not.toHaveProperty('subscriptions.0');
    });

    test('a pull that waits ends with its subscription', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { subscription } = client;
      const waiting = client.call('Pull', { subscription, maxMessages: 10 });
      const refused = refuses(waiting, 'NOT_FOUND', subscription);
      await client.call('DeleteSubscription', { subscription });
      await refused;
    });

    test('a pushed subscription cannot be pulled from until its push configuration is taken away', async () => {
      await using server = await open();
      const pushConfig = { pushEndpoint: 'http://127.0.0.1:9/' };
      const client = await Client.on(server, { pushConfig });
      const { subscription } = client;
      await refuses(client.pull(1), 'FAILED_PRECONDITION', 'pushed');
      await client.call('ModifyPushConfig', { subscription, pushConfig: {} });
      expect(await client.call('GetSubscription', { subscription })).toMatchObject({ pushConfig: {} });
      expect(await client.pull(1)).toEqual([]);
    });

    test('policies of topics and subscriptions are kept, and a stale one is not written over a new one', async () => {
      await using server = await open();
      const client = await Client.on(server);
      for (const resource of [client.topic, client.subscription]) {
        expect(await client.call('GetIamPolicy', { resource })).toEqual({ etag: 'ACAB' });
        const bindings = [{ role: 'roles/pubsub.viewer', members: ['user:a@example.com'] }];
        const set = await client.call('SetIamPolicy', { resource, policy: { bindings } });
        expect(await client.call('GetIamPolicy', { resource })).toEqual({ version: 1, bindings, etag: set.etag });
        const stale = client.call('SetIamPolicy', { resource, policy: { bindings: [], etag: 'ACAB' } });
        await refuses(stale, 'ABORTED', resource);
        const permissions = ['pubsub.topics.publish'];
        expect(await client.call('TestIamPermissions', { resource, permissions })).toEqual({ permissions });
      }
      const missing = { resource: 'projects/test/topics/missing', permissions: ['pubsub.topics.publish'] };
      expect((await client.call('TestIamPermissions', missing)).permissions ?? []).toEqual([]);
      await refuses(client.call('GetIamPolicy', { resource: missing.resource }), 'NOT_FOUND', 'missing');
    });

    test('names and limits are checked', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const { topic, subscription } = client;
      const publish = (...messages: Json[]) => ['Publish', { topic, messages }] as const;
      const create = (config: Json) =>
        ['CreateSubscription', { name: resource('subscriptions'), topic, ...config }] as const;
      const attempts: (readonly [readonly [string, Json], string, string])[] = [
        [['CreateTopic', { name: 'projects/test/topics/t' }], 'INVALID_ARGUMENT', 'topics/t'],
        [['CreateTopic', { name: 'projects/test/topics/googly' }], 'INVALID_ARGUMENT', 'googly'],
        [['CreateTopic', { name: topic }], 'ALREADY_EXISTS', topic],
        [['CreateTopic', { name: resource('topics'), labels: { Team: 'a' } }], 'INVALID_ARGUMENT', 'Team'],
        [['Publish', { topic: 'projects/test/topics/missing', messages: [{ data: 'aGk=' }] }], 'NOT_FOUND', 'missing'],
        [['GetSubscription', { subscription: 'projects/test/subscriptions/missing' }], 'NOT_FOUND', 'missing'],
        [publish(), 'INVALID_ARGUMENT', '1000'],
        [publish({}), 'INVALID_ARGUMENT', 'neither data nor attributes'],
        [publish(...Array.from({ length: 1001 }, () => ({ data: 'aGk=' }))), 'INVALID_ARGUMENT', '1000'],
        [publish({ attributes: { ['k'.repeat(257)]: 'v' } }), 'INVALID_ARGUMENT', '256'],
        [publish({ attributes: { k: 'v'.repeat(1025) } }), 'INVALID_ARGUMENT', '1024'],
        [publish({ attributes: { google: 'v' } }), 'INVALID_ARGUMENT', 'google'],
        [publish({ data: 'aGk=', orderingKey: 'k'.repeat(1025) }), 'INVALID_ARGUMENT', '1024'],
        [
          publish({ data: 'aGk=', orderingKey: 'one' }, { data: 'aGk=', orderingKey: 'two' }),
          'FAILED_PRECONDITION',
          'ordering key',
        ],
        [
          publish(...Array.from({ length: 2 }, () => ({ data: base64('x'.repeat(5_000_001)) }))),
          'INVALID_ARGUMENT',
          '10000000',
        ],
        [create({ topic: 'projects/test/topics/missing' }), 'NOT_FOUND', 'missing'],
        [create({ topic: 'missing' }), 'INVALID_ARGUMENT', 'missing'],
        [create({ ackDeadlineSeconds: 9 }), 'INVALID_ARGUMENT', '10 to 600'],
        [create({ ackDeadlineSeconds: 601 }), 'INVALID_ARGUMENT', '10 to 600'],
        [create({ retryPolicy: { minimumBackoff: '601s' } }), 'INVALID_ARGUMENT', '601s'],
        [create({ retryPolicy: { minimumBackoff: '5s', maximumBackoff: '4s' } }), 'INVALID_ARGUMENT', '5s'],
        [create({ pushConfig: { pushEndpoint: 'ftp://x' } }), 'INVALID_ARGUMENT', 'ftp://x'],
        [create({ pushConfig: { attributes: { a: 'b' } } }), 'INVALID_ARGUMENT', 'x-goog-version'],
        [['Pull', { subscription, maxMessages: 0 }], 'INVALID_ARGUMENT', 'maxMessages'],
        [['Pull', { subscription, maxMessages: -1 }], 'INVALID_ARGUMENT', 'maxMessages'],
        [['Acknowledge', { subscription, ackIds: [] }], 'INVALID_ARGUMENT', 'ackIds'],
        [['Acknowledge', { subscription, ackIds: ['nonsense'] }], 'INVALID_ARGUMENT', 'nonsense'],
        [
          ['ModifyAckDeadline', { subscription, ackIds: ['nonsense'], ackDeadlineSeconds: 601 }],
          'INVALID_ARGUMENT',
          '601',
        ],
      ];
      for (const [[rpc, request], status, because] of attempts) {
        await refuses(client.call(rpc, request), status, because);
      }
    });

    test.each([['messageTransforms', [{ javascriptUdf: { functionName: 'f', code: 'function f(m) { return m; }' } }]]])(
      'what is not there yet is never taken and ignored: %s',
      async (field, value) => {
        await using server = await open();
        const client = await Client.on(server);
        const { topic, subscription } = client;
        const created = client.call('CreateSubscription', {
          name: resource('subscriptions'),
          topic,
          [field]: value,
        });
        await refuses(created, 'UNIMPLEMENTED', field);
        const updated = client.call('UpdateSubscription', {
          subscription: { name: subscription, [field]: value },
          updateMask: field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        });
        await refuses(updated, 'UNIMPLEMENTED', field);
      },
    );

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

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A name of its own. */
export function resource(kind: string): string {
  return `projects/test/${kind}/r-${crypto.randomUUID()}`;
}

export async function refuses(call: Promise<unknown>, status: string, because: string): Promise<void> {
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

  async another(): Promise<Client> {
    const other = new Client(this.#wire, this.topic, resource('subscriptions'));
    await other.call('CreateSubscription', { name: other.subscription, topic: this.topic });
    return other;
  }

  async publish(messages: readonly Json[]): Promise<string[]> {
    return (await this.call('Publish', { topic: this.topic, messages })).messageIds as string[];
  }

  async pull(maxMessages: number): Promise<Received[]> {
    const { subscription } = this;
    const { receivedMessages = [] } = await this.call('Pull', { subscription, maxMessages, returnImmediately: true });
    return receivedMessages as Received[];
  }

  /** Waits until there is something: for what must come, but not at once. */
  async pullSome(maxMessages: number): Promise<Received[]> {
    const { receivedMessages = [] } = await this.call('Pull', { subscription: this.subscription, maxMessages });
    return receivedMessages as Received[];
  }

  async acknowledge(ackId: string): Promise<void> {
    await this.call('Acknowledge', { subscription: this.subscription, ackIds: [ackId] });
  }

  async nack(ackId: string): Promise<void> {
    const { subscription } = this;
    await this.call('ModifyAckDeadline', { subscription, ackIds: [ackId], ackDeadlineSeconds: 0 });
  }

  call(rpc: string, request: Json): Promise<Json> {
    return this.#wire.call(rpc, request);
  }
}
