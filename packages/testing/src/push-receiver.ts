import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Json } from './pubsub-wire.ts';

/** A push that arrived, for the test to answer. */
export interface ReceivedPush {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body, where it is the envelope. */
  readonly envelope: Json & { readonly message: Json; readonly subscription: string };
  /** The message's data as text, wrapped or not. */
  readonly text: string;
  readonly response: ServerResponse;
  answer(status: number): void;
}

/** A push endpoint on a port of its own. What arrives waits in `waiting` for its answer, or is answered by `onPush`. */
export class PushReceiver implements AsyncDisposable {
  readonly waiting: ReceivedPush[] = [];
  /** How many arrived. */
  count = 0;
  onPush: (push: ReceivedPush) => void = (push) => this.waiting.push(push);
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<PushReceiver> {
    const server = createServer(async (incoming, response) => {
      const chunks: Buffer[] = [];
      // A sender that goes away in the middle sent nothing.
      incoming.on('error', () => {});
      for await (const chunk of incoming) chunks.push(chunk);
      receiver.count++;
      receiver.onPush(received(incoming.headers, Buffer.concat(chunks), response));
    });
    const receiver = new PushReceiver(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get server(): Server {
    return this.#server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/push?from=broker`;
  }

  /** Answers all that wait. */
  answer(status: number): void {
    for (const push of this.waiting.splice(0)) push.answer(status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

function received(headers: IncomingHttpHeaders, body: Buffer, response: ServerResponse): ReceivedPush {
  const isWrapped = body.subarray(0, 1).toString() === '{' && body.includes('"subscription"');
  const envelope = isWrapped ? JSON.parse(body.toString()) : { message: {}, subscription: '' };
  return {
    headers,
    body,
    envelope,
    text: isWrapped ? Buffer.from(String(envelope.message.data), 'base64').toString() : body.toString(),
    response,
    answer: (status) => void response.writeHead(status).end(),
  };
}
