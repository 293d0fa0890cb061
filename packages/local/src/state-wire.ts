import { Agent, createServer, request, type Server } from 'node:http';
import {
  type Committed,
  ConflictError,
  DormouseError,
  type Entry,
  type LogQuery,
  type Page,
  type Query,
  type Ref,
  type StateStore,
  type UnitOfWork,
  type Unsent,
  type UnsentQuery,
  type Versioned,
} from '@dormouse/core';

/** Entries a page of `log` carries over the wire. */
const pageSize = 500;

/** Serves a state store to the instances, as JSON over HTTP on a socket that only this user's processes can open. */
export function serveStateStore(store: StateStore, token: string): Server {
  const server = createServer(async (incoming, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (incoming.headers.authorization !== `Bearer ${token}`) return answer(401, { message: 'no valid token' });
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = JSON.parse(Buffer.concat(chunks).toString());
      switch (incoming.url) {
        case '/get':
          return answer(200, await store.get(body));
        case '/find':
          return answer(200, await store.find(body));
        case '/log':
          return answer(200, await firstEntries(store.log(body)));
        case '/commit':
          return answer(200, await store.commit(body));
        case '/due':
          return answer(200, await store.due(body.now, body.limit));
        case '/unsent':
          return answer(200, await store.unsent(body));
        case '/sent':
          await store.sent(body);
          return answer(200, null);
        default:
          return answer(404, { message: `nothing at ${incoming.url}` });
      }
    } catch (error) {
      if (error instanceof ConflictError) return answer(409, { moved: error.moved, heads: error.heads });
      if (error instanceof DormouseError) return answer(422, { code: error.code, message: error.message });
      answer(500, { message: (error as Error).message });
    }
  });
  // An instance may compute for long between its calls, and then finds its connection as it left it.
  server.keepAliveTimeout = 0;
  return server;
}

async function firstEntries(log: AsyncIterable<Entry>): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of log) if (entries.push(entry) === pageSize) break;
  return entries;
}

/** The state store as an instance sees it. */
export class RemoteStateStore implements StateStore {
  readonly #socketPath: string;
  readonly #token: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });

  constructor(socketPath: string, token: string) {
    this.#socketPath = socketPath;
    this.#token = token;
  }

  get(refs: readonly Ref[]): Promise<Versioned[]> {
    return this.#call('/get', refs);
  }

  find(query: Query): Promise<Page> {
    return this.#call('/find', query);
  }

  async *log(query: LogQuery): AsyncIterable<Entry> {
    for (let after = query.after; ; ) {
      const entries = await this.#call<Entry[]>('/log', { ...query, ...(after !== undefined && { after }) });
      yield* entries;
      if (entries.length < pageSize) return;
      after = entries.at(-1)!.cursor;
    }
  }

  commit(unit: UnitOfWork): Promise<Committed> {
    return this.#call('/commit', unit);
  }

  due(now: number, limit: number): Promise<Versioned[]> {
    return this.#call('/due', { now, limit });
  }

  unsent(query: UnsentQuery): Promise<Unsent[]> {
    return this.#call('/unsent', query);
  }

  sent(ids: readonly string[]): Promise<void> {
    return this.#call('/sent', ids);
  }

  #call<T>(path: string, body: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) =>
        reject(new DormouseError('store.unavailable', 'the state store did not answer; is the host up?', { cause }));
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          // Unused with a socket's path; left out, Node makes up a name from its own network stack, which it loads for that.
          host: '127.0.0.1',
          path,
          method: 'POST',
          agent: this.#agent,
          headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.on('error', fail);
          response.on('end', () => {
            const answer = JSON.parse(Buffer.concat(chunks).toString());
            if (response.statusCode === 200) resolve(answer);
            else if (response.statusCode === 409) reject(new ConflictError(answer.moved, answer.heads));
            else if (response.statusCode === 422) reject(new DormouseError(answer.code, answer.message));
            else fail(new Error(`HTTP ${response.statusCode}: ${answer.message}`));
          });
        },
      );
      outgoing.on('error', fail);
      outgoing.end(JSON.stringify(body));
    });
  }
}
