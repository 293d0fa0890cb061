import { Agent, request } from 'node:http';

export interface ReceivedMessage {
  readonly ackId: string;
  readonly message: { readonly data?: string };
}

/** A plain client of Pub/Sub v1 over REST, as thin as it can be: what is measured is the server. */
export class PubsubRest {
  readonly #port: number;
  readonly #connections: number;
  readonly #agent: Agent;

  constructor(port: number, connections: number) {
    this.#port = port;
    this.#connections = connections;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  async create(topic: string, subscription?: string, more: object = {}): Promise<void> {
    await this.call('PUT', topic, '{}').catch(() => {});
    if (subscription) await this.call('PUT', subscription, JSON.stringify({ topic, ackDeadlineSeconds: 600, ...more }));
  }

  /** @param body as `batchOf` makes it */
  publish(topic: string, body: Buffer): Promise<string> {
    return this.call('POST', `${topic}:publish`, body);
  }

  async pull(subscription: string, maxMessages: number): Promise<readonly ReceivedMessage[]> {
    const text = await this.call('POST', `${subscription}:pull`, `{"maxMessages":${maxMessages}}`);
    return (JSON.parse(text) as { receivedMessages?: ReceivedMessage[] }).receivedMessages ?? [];
  }

  async acknowledge(subscription: string, messages: readonly ReceivedMessage[]): Promise<void> {
    const ackIds = messages.map(({ ackId }) => ackId);
    await this.call('POST', `${subscription}:acknowledge`, JSON.stringify({ ackIds }));
  }

  /** Publishes so many messages, a request at a time on each connection. */
  async publishAll(topic: string, messages: number, { batch, bytes }: { batch: number; bytes: number }): Promise<void> {
    const body = batchOf(batch, bytes);
    await this.#onAll(messages, batch, async () => {
      await this.publish(topic, body);
      return batch;
    });
  }

  /** Pulls and acks so many messages, the same way. */
  async drain(subscription: string, messages: number, batch: number): Promise<void> {
    await this.#onAll(messages, batch, async () => {
      const received = await this.pull(subscription, batch);
      if (received.length > 0) await this.acknowledge(subscription, received);
      return received.length;
    });
  }

  /** Pulls and nacks so many, the same way. */
  async nackAll(subscription: string, messages: number, batch: number): Promise<void> {
    await this.#onAll(messages, batch, async () => {
      const received = await this.pull(subscription, batch);
      const ackIds = received.map(({ ackId }) => ackId);
      const body = JSON.stringify({ ackIds, ackDeadlineSeconds: 0 });
      if (received.length > 0) await this.call('POST', `${subscription}:modifyAckDeadline`, body);
      return received.length;
    });
  }

  /** @param once answers how many of a batch it did; the rest is another's */
  async #onAll(messages: number, batch: number, once: () => Promise<number>): Promise<void> {
    let left = messages;
    const worker = async () => {
      while (left > 0) {
        left -= batch;
        const done = await once();
        left += batch - done;
      }
    };
    await Promise.all(Array.from({ length: this.#connections }, worker));
  }

  call(method: string, path: string, body?: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          port: this.#port,
          host: '127.0.0.1',
          method,
          path: `/v1/${path}`,
          agent: this.#agent,
          headers:
            body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            if (response.statusCode === 200) resolve(text);
            else reject(new Error(`${method} ${path}: HTTP ${response.statusCode} ${text}`));
          });
          response.on('error', reject);
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The body of a publish of so many messages of so many bytes. */
export function batchOf(count: number, bytes: number): Buffer {
  const data = Buffer.alloc(bytes, 'x').toString('base64');
  return Buffer.from(JSON.stringify({ messages: Array.from({ length: count }, () => ({ data })) }));
}
