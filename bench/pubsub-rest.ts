import { Agent, request } from 'node:http';

export interface ReceivedMessage {
  readonly ackId: string;
  readonly message: { readonly data?: string };
}

/** A plain client of Pub/Sub v1 over REST, as thin as it can be: what is measured is the server. */
export class PubsubRest {
  readonly #port: number;
  readonly #agent: Agent;

  constructor(port: number, connections: number) {
    this.#port = port;
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
