// Real HTTP: our broker, and Google's emulator, which ignores filters and knows less of updates.
import {
  changesTo,
  type Plan,
  PubsubClient,
  planOf,
  provision,
  type SubscriptionPlan,
  undeclaredIn,
} from '@dormouse/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';

const declared = {
  system: 'shop',
  topics: [{ name: 'order.placed' }, { name: 'order.paid' }, { name: 'dead.letter' }],
  services: [
    {
      name: 'stock',
      subscriptions: [
        { name: 'stock.order.placed', topic: 'order.placed', ackDeadlineMs: 60_000, dormouse: true },
        {
          name: 'stock.order.paid',
          topic: 'order.paid',
          ackDeadlineMs: 600_000,
          order: { poison: 'park-key' },
          dormouse: true,
        },
      ],
    },
    {
      name: 'desk',
      subscriptions: [{ name: 'desk.dead.letter', topic: 'dead.letter', ackDeadlineMs: 600_000, dormouse: true }],
    },
  ],
} as const;
const pushOf = (service: string) => ({
  pushEndpoint: `http://${service}.example.com/pubsub-push`,
  oidcToken: { serviceAccountEmail: 'caller@example.com', audience: `http://${service}.example.com` },
});
const plan = planOf(declared, { pushOf });

/** A plan, one subscription of it otherwise. */
function planWith(plan: Plan, name: string, change: Partial<SubscriptionPlan>): Plan {
  return {
    ...plan,
    subscriptions: plan.subscriptions.map((each) => (each.name === name ? { ...each, ...change } : each)),
  };
}

test('a plan names what the system declares, in its order: topics, subscriptions with filter, order and net', () => {
  expect(plan.topics.map(({ name }) => name)).toEqual(['order.placed', 'order.paid', 'dead.letter']);
  expect(plan.subscriptions).toEqual([
    {
      name: 'stock.order.placed',
      service: 'stock',
      topic: 'order.placed',
      pushConfig: {
        pushEndpoint: 'http://stock.example.com/pubsub-push',
        oidcToken: { serviceAccountEmail: 'caller@example.com', audience: 'http://stock.example.com' },
      },
      ackDeadlineSeconds: 60,
      retryPolicy: { minimumBackoff: '10s', maximumBackoff: '600s' },
      deadLetterPolicy: { topic: 'dead.letter', maxDeliveryAttempts: 100 },
      enableMessageOrdering: false,
      filter: 'NOT attributes:dormouse-to OR attributes.dormouse-to = "stock.order.placed"',
      expirationPolicy: {},
      messageRetentionDuration: '2678400s',
    },
    expect.objectContaining({ name: 'stock.order.paid', enableMessageOrdering: true }),
    // What the wire forwards there comes whomever it was addressed to, and what dies there has nowhere to go.
    expect.not.objectContaining({ deadLetterPolicy: expect.anything() }),
  ]);
  expect(plan.subscriptions[2]!.filter).toContain('OR attributes:CloudPubSubDeadLetterSourceSubscription');
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
});

test('where nobody records what dies, the wire brings a message for ever', () => {
  const services = declared.services.slice(0, 1);
  const { subscriptions } = planOf({ ...declared, services }, { pushOf: () => ({}) });
  expect(subscriptions.map(({ deadLetterPolicy }) => deadLetterPolicy)).toEqual([undefined, undefined]);
});

test('an address that is no Pub/Sub is told with what it answered', async () => {
  const client = new PubsubClient(async () => ({ status: 502, body: '<html>Bad gateway</html>' }), 'p');
  await expect(provision(client, plan)).rejects.toThrow(
    'Pub/Sub GET projects/p/topics/order.placed: 502 <html>Bad gateway</html>',
  );
});

describe('our broker', () => {
  let server: BrokerServer;
  beforeAll(async () => {
    server = await BrokerServer.open();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  provisions(plan, () => server.address);

  test('what an older program left at Google’s defaults is kept longer, and does not expire', async () => {
    const { client, send } = clientOf(server.address);
    await provision(client, plan);
    const name = 'stock.order.placed';
    const subscription = { messageRetentionDuration: '604800s', expirationPolicy: { ttl: '2678400s' } };
    const updateMask = 'messageRetentionDuration,expirationPolicy';
    expect(await send('PATCH', `subscriptions/${name}`, { subscription, updateMask })).toMatchObject(subscription);
    const changes = (await provision(client, plan)).filter(({ action }) => action !== 'same');
    expect(changes).toEqual([
      {
        kind: 'subscription',
        name,
        action: 'update',
        fields: [
          { field: 'expirationPolicy', from: { ttl: '2678400s' }, to: {} },
          { field: 'messageRetentionDuration', from: '604800s', to: '2678400s' },
        ],
      },
    ]);
    expect(await send('GET', `subscriptions/${name}`)).toMatchObject({
      messageRetentionDuration: '2678400s',
      expirationPolicy: {},
    });
  });

  test('a subscription that was detached is refused: it would bring nothing', async () => {
    const { client, send } = clientOf(server.address);
    await provision(client, plan);
    await send('POST', 'subscriptions/stock.order.placed:detach', {});
    await expect(provision(client, plan)).rejects.toThrow(
      'subscription "stock.order.placed" exists detached from its topic, which nobody can change',
    );
  });
});

const found = findEmulator('pubsub');
describe('Google’s emulator', () => {
  if ('missing' in found) skipWithout('Pub/Sub', found.missing, test.skip);
  else {
    let emulator: Emulator;
    beforeAll(async () => {
      emulator = await Emulator.start(found);
    });
    afterAll(() => emulator[Symbol.dispose]());
    // It takes no more than 7 days.
    provisions(planOf(declared, { pushOf, retentionMs: 7 * 86_400_000 }), () => emulator.address);
  }
});

function provisions(plan: Plan, address: () => string): void {
  test('what was made by a request whose answer was lost is as planned', async () => {
    const { client } = clientOf(address(), { repeats: true });
    await provision(client, plan);
    expect((await provision(client, plan)).map(({ action }) => action)).toEqual(Array(6).fill('same'));
  });

  test('a plan is made, and made again it changes nothing', async () => {
    const { client, send, methods } = clientOf(address());
    expect((await changesTo(client, plan)).map(({ action }) => action)).toEqual(Array(6).fill('create'));
    expect(await client.getTopic('order.placed')).toBeUndefined();

    const told: string[] = [];
    await provision(client, plan, ({ action, name }) => void told.push(`${action} ${name}`));
    expect(told).toEqual([
      'create order.placed',
      'create order.paid',
      'create dead.letter',
      'create stock.order.placed',
      'create stock.order.paid',
      'create desk.dead.letter',
    ]);
    expect(await send('GET', 'subscriptions/stock.order.paid')).toMatchObject({
      topic: client.topicName('order.paid'),
      ackDeadlineSeconds: 600,
      enableMessageOrdering: true,
      filter: 'NOT attributes:dormouse-to OR attributes.dormouse-to = "stock.order.paid"',
      deadLetterPolicy: { deadLetterTopic: client.topicName('dead.letter'), maxDeliveryAttempts: 100 },
      messageRetentionDuration: plan.subscriptions[0]!.messageRetentionDuration,
      pushConfig: {
        pushEndpoint: 'http://stock.example.com/pubsub-push',
        oidcToken: { serviceAccountEmail: 'caller@example.com', audience: 'http://stock.example.com' },
      },
    });
    methods.length = 0;
    const again = await provision(client, plan);
    expect(again.map(({ action, fields }) => [action, fields])).toEqual(Array(6).fill(['same', []]));
    expect(methods).toEqual(Array(6).fill('GET'));
  });

  test('what may change is brought to the plan, each field told with what it was', async () => {
    const { client, send } = clientOf(address());
    await provision(client, plan);
    const pushConfig = { pushEndpoint: 'http://elsewhere.example.com/pubsub-push' };
    const name = 'stock.order.placed';
    const { deadLetterPolicy: _, ...rest } = plan.subscriptions[0]!;
    const subscriptions = [{ ...rest, pushConfig, ackDeadlineSeconds: 30 }, ...plan.subscriptions.slice(1)];
    const changes = await provision(client, { ...plan, subscriptions });
    const net = { deadLetterTopic: client.topicName('dead.letter'), maxDeliveryAttempts: 100 };
    expect(changes.filter(({ action }) => action !== 'same')).toEqual([
      {
        kind: 'subscription',
        name,
        action: 'update',
        fields: [
          { field: 'pushConfig', from: plan.subscriptions[0]!.pushConfig, to: pushConfig },
          { field: 'ackDeadlineSeconds', from: 60, to: 30 },
          { field: 'deadLetterPolicy', from: net, to: undefined },
        ],
      },
    ]);
    const now = await send('GET', `subscriptions/${name}`);
    expect(now).toMatchObject({ pushConfig, ackDeadlineSeconds: 30 });
    expect(now).not.toHaveProperty('deadLetterPolicy');
    // And back.
    expect((await provision(client, plan)).filter(({ action }) => action === 'update')).toHaveLength(1);
    expect((await changesTo(client, plan)).every(({ action }) => action === 'same')).toBe(true);
  });

  test('what the system does not declare any more is told and left; what is another’s is not', async () => {
    const { client, send } = clientOf(address());
    await provision(client, plan);
    const topic = client.topicName('order.paid');
    await send('PUT', 'subscriptions/stranger', { topic, filter: 'attributes:mine' });
    // Of another system in the project: it pushes by an account of its own.
    const filter = 'attributes.dormouse-to = "other.order.paid"';
    await send('PUT', 'subscriptions/other.order.paid', { topic, filter });
    const renamed = { ...plan, subscriptions: plan.subscriptions.filter(({ name }) => name !== 'stock.order.paid') };
    expect(await undeclaredIn(client, plan)).toEqual([]);
    expect(await undeclaredIn(client, renamed)).toEqual(['stock.order.paid']);
    expect((await provision(client, renamed)).every(({ action }) => action === 'same')).toBe(true);
    expect(await client.getSubscription('stock.order.paid')).toBeDefined();
  });

  test.each([
    ['filter', { filter: 'attributes:other' }, 'with the filter "NOT attributes:dormouse-to'],
    ['order', { enableMessageOrdering: true }, 'without order'],
    ['topic', { topic: 'order.paid' }, 'on the topic "projects/'],
  ] as const)('another %s is refused by name, before anything is changed', async (_what, change, told) => {
    const { client, send } = clientOf(address());
    await provision(client, plan);
    await send('DELETE', 'subscriptions/desk.dead.letter');
    const other = planWith(plan, 'stock.order.placed', { ...change, ackDeadlineSeconds: 20 });
    const refused = provision(client, other);
    await expect(refused).rejects.toThrow(`subscription "stock.order.placed" exists ${told}`);
    await expect(refused).rejects.toMatchObject({ code: 'subscription.differs' });
    await expect(refused).rejects.toThrow(/which nobody can change; .*delete it.*another `name`/);
    expect(await client.getSubscription('stock.order.placed')).toMatchObject({ ackDeadlineSeconds: 60 });
    expect(await client.getSubscription('desk.dead.letter')).toBeUndefined();
  });
}

let projects = 0;

/** Of a project of its own. */
function clientOf(address: string, { repeats = false } = {}) {
  const project = `provision-${++projects}`;
  /** Of what was asked. */
  const methods: string[] = [];
  const request = async (method: string, path: string, json: string) => {
    methods.push(method);
    const headers = { 'content-type': 'application/json' };
    const ask = () => fetch(`http://${address}${path}`, { method, headers, ...(json && { body: json }) });
    // As where an answer is lost.
    if (repeats && method === 'PUT') await ask();
    const response = await ask();
    return { status: response.status, body: await response.text() };
  };
  return {
    methods,
    client: new PubsubClient(request, project),
    send: async (method: string, path: string, body?: unknown): Promise<unknown> => {
      const answer = await request(method, `/v1/projects/${project}/${path}`, body ? JSON.stringify(body) : '');
      return JSON.parse(answer.body);
    },
  };
}
