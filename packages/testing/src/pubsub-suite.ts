import { describe, expect, test } from 'vitest';

/** A Pub/Sub server under test, and how time passes for it. */
export interface PubsubServer extends AsyncDisposable {
  /** Base address, without a slash at its end. */
  readonly url: string;
}

interface Received {
  readonly ackId: string;
  readonly message: {
    readonly data: string;
    readonly messageId: string;
    readonly publishTime: string;
    readonly attributes?: Record<string, string>;
  };
}

/** Pub/Sub's semantics in plain HTTP. Each test has topics and subscriptions of its own. Source: google.pubsub.v1. */
export function pubsubSuite(name: string, open: () => Promise<PubsubServer>): void {
  describe(`Pub/Sub: ${name}`, () => {
    test('what is published is pulled, with its attributes, once acked never again', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const [messageId] = await client.publish([{ data: base64('hello'), attributes: { a: 'b' } }]);
      const [received] = await client.pull(10);
      expect(received!.message).toMatchObject({ data: base64('hello'), attributes: { a: 'b' }, messageId });
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

    test('every subscription has a cursor of its own', async () => {
      await using server = await open();
      const one = await Client.on(server);
      const other = await one.another();
      await one.publish([{ data: base64('1') }]);
      const [received] = await one.pull(1);
      await one.acknowledge(received!.ackId);
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

    test('a nacked message comes again with the id it had', async () => {
      await using server = await open();
      const client = await Client.on(server, { retryPolicy: { minimumBackoff: '0s' } });
      const [messageId] = await client.publish([{ data: base64('1') }]);
      const [received] = await client.pull(1);
      await client.nack(received!.ackId);
      const [again] = await client.pullSome(1);
      expect(again!.message.messageId).toBe(messageId);
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
      const { status, body } = await client.call('PUT', client.resource('subscriptions'), {
        topic: client.topic,
        filter,
      });
      expect(status).toBe(400);
      expect(body.error).toMatchObject({ status: 'INVALID_ARGUMENT', message: expect.stringContaining(because) });
    });

    test('names and limits are checked, in Google’s error shape', async () => {
      await using server = await open();
      const client = await Client.on(server);
      const attempts: [string, string, unknown, number, string][] = [
        ['PUT', 'projects/test/topics/t', {}, 400, 'INVALID_ARGUMENT'],
        ['PUT', 'projects/test/topics/googly', {}, 400, 'INVALID_ARGUMENT'],
        ['PUT', client.topic, {}, 409, 'ALREADY_EXISTS'],
        ['POST', 'projects/test/topics/missing:publish', { messages: [{ data: 'aGk=' }] }, 404, 'NOT_FOUND'],
        ['POST', `${client.topic}:publish`, { messages: [{}] }, 400, 'INVALID_ARGUMENT'],
        [
          'POST',
          `${client.topic}:publish`,
          { messages: [{ attributes: { ['k'.repeat(257)]: 'v' } }] },
          400,
          'INVALID_ARGUMENT',
        ],
        [
          'POST',
          `${client.topic}:publish`,
          { messages: [{ attributes: { k: 'v'.repeat(1025) } }] },
          400,
          'INVALID_ARGUMENT',
        ],
        ['POST', `${client.subscription}:pull`, { maxMessages: 0 }, 400, 'INVALID_ARGUMENT'],
        ['GET', 'projects/test/subscriptions/missing', undefined, 404, 'NOT_FOUND'],
      ];
      for (const [method, path, body, status, grpcStatus] of attempts) {
        const answer = await client.call(method, path, body);
        expect([path, answer.status, answer.body.error]).toMatchObject([
          path,
          status,
          { code: status, status: grpcStatus },
        ]);
      }
    });
  });
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A topic with one subscription, over plain HTTP. */
class Client {
  readonly topic: string;
  readonly subscription: string;
  readonly #url: string;

  private constructor(url: string, topic: string, subscription: string) {
    this.#url = url;
    this.topic = topic;
    this.subscription = subscription;
  }

  static async on({ url }: PubsubServer, subscription: Record<string, unknown> = {}): Promise<Client> {
    const unique = crypto.randomUUID();
    const client = new Client(url, `projects/test/topics/t-${unique}`, `projects/test/subscriptions/s-${unique}`);
    await client.#good('PUT', client.topic, {});
    await client.#good('PUT', client.subscription, { topic: client.topic, ...subscription });
    return client;
  }

  async another(): Promise<Client> {
    const other = new Client(this.#url, this.topic, this.resource('subscriptions'));
    await other.#good('PUT', other.subscription, { topic: this.topic });
    return other;
  }

  resource(kind: string): string {
    return `projects/test/${kind}/r-${crypto.randomUUID()}`;
  }

  async publish(messages: readonly { data?: string; attributes?: Record<string, string> }[]): Promise<string[]> {
    return (await this.#good('POST', `${this.topic}:publish`, { messages })).messageIds as string[];
  }

  async pull(maxMessages: number): Promise<Received[]> {
    const { receivedMessages = [] } = await this.#good('POST', `${this.subscription}:pull`, {
      maxMessages,
      returnImmediately: true,
    });
    return receivedMessages as Received[];
  }

  /** Asks until there is something: for what must come, but not at once. */
  async pullSome(maxMessages: number): Promise<Received[]> {
    for (const startedAt = Date.now(); Date.now() - startedAt < 10_000; ) {
      const received = await this.pull(maxMessages);
      if (received.length > 0) return received;
    }
    throw new Error('nothing came within 10 s');
  }

  async acknowledge(ackId: string): Promise<void> {
    await this.#good('POST', `${this.subscription}:acknowledge`, { ackIds: [ackId] });
  }

  async nack(ackId: string): Promise<void> {
    await this.#good('POST', `${this.subscription}:modifyAckDeadline`, { ackIds: [ackId], ackDeadlineSeconds: 0 });
  }

  async call(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
    const response = await fetch(`${this.#url}/v1/${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async #good(method: string, path: string, body: unknown): Promise<Record<string, unknown>> {
    const answer = await this.call(method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}
