import { connect, createServer, type Server, type Socket } from 'node:net';
import type { PushContent } from '@dormouse/broker';
import type { Endpoint } from '@dormouse/core';
import { JsonStream } from './json-stream.ts';

/** What is of the HTTP request that a push is elsewhere, word for word, and its number, in the order of pushes. */
type Push = readonly [number: number, authorization: string | null, body: string];

/** The status of the answer, and why it is no other. */
type Answer = readonly [number: number, status: number, detail: string | undefined];

/** An instance's side: takes the pushes of its host, on one connection on which they do not wait for each other's answers. */
export class PushServer {
  readonly #server: Server;
  readonly #streams = new Set<JsonStream>();
  #held = 0;
  #onFree: () => void = () => {};

  constructor(endpoint: Pick<Endpoint, 'push'>) {
    this.#server = createServer((socket) => {
      // The host is gone, and with it whoever could be answered.
      socket.on('error', () => {});
      const stream = new JsonStream(socket, async (value) => {
        const [number, authorization, body] = value as Push;
        this.#held++;
        const request = { method: 'POST', authorization: authorization ?? undefined, body };
        const { status, detail } = await endpoint.push(request);
        stream.send([number, status, detail] satisfies Answer);
        if (--this.#held === 0) this.#onFree();
      });
      this.#streams.add(stream);
      socket.on('close', () => this.#streams.delete(stream));
    });
  }

  listen(path: string, onListening: () => void): void {
    this.#server.listen(path, onListening);
  }

  onError(listener: (error: Error) => void): void {
    this.#server.on('error', listener);
  }

  /** Resolves when what it holds is answered, and the answers are on their way, or when nobody is there to be answered. */
  async close(): Promise<void> {
    const alone = new Promise((resolve) => this.#server.close(resolve));
    const { promise: free, resolve } = Promise.withResolvers<void>();
    this.#onFree = resolve;
    if (this.#held === 0) resolve();
    const answered = free.then(() => Promise.all([...this.#streams].map((stream) => stream.end())));
    await Promise.race([alone, answered]);
  }
}

/** A push has not been answered. */
export class PushLost extends Error {
  /** No byte of it was taken: nobody listens there. */
  readonly unseen: boolean;

  constructor(message: string, unseen: boolean) {
    super(message);
    this.unseen = unseen;
  }
}

/** How pushes get to an instance. */
export interface PushWire {
  /** The status that a push is answered with. @throws PushLost */
  send(content: PushContent): Promise<number>;
  close(): void;
}

const utf8 = new TextDecoder();

interface Waiting {
  readonly answered: (status: number) => void;
  readonly lost: (error: PushLost) => void;
}

/** The host's side of a `PushServer`. Connects with the first push. */
export class PushLine implements PushWire {
  readonly #socketPath: string;
  readonly #waiting = new Map<number, Waiting>();
  #line: { readonly socket: Socket; readonly stream: JsonStream } | undefined;
  #pushes = 0;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  send({ headers, body }: PushContent): Promise<number> {
    return new Promise((answered, lost) => {
      const number = ++this.#pushes;
      this.#waiting.set(number, { answered, lost });
      this.#line ??= this.#connect();
      this.#line.stream.send([number, headers.authorization ?? null, utf8.decode(body)] satisfies Push);
    });
  }

  close(): void {
    this.#line?.socket.destroy();
  }

  #connect(): { readonly socket: Socket; readonly stream: JsonStream } {
    const socket = connect(this.#socketPath);
    const stream = new JsonStream(socket, (value) => {
      const [number, status] = value as Answer;
      this.#waiting.get(number)?.answered(status);
      this.#waiting.delete(number);
    });
    let reason = 'the connection was lost';
    let connected = false;
    socket.on('connect', () => {
      connected = true;
    });
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.on('close', () => {
      this.#line = undefined;
      for (const { lost } of this.#waiting.values()) lost(new PushLost(reason, !connected));
      this.#waiting.clear();
    });
    return { socket, stream };
  }
}
