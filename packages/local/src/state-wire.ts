import { connect, createServer, type Server, type Socket } from 'node:net';
import {
  type Committed,
  ConflictError,
  DormouseError,
  type Entry,
  type ErrorCode,
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
import { JsonStream } from './json-stream.ts';

/** Entries a page of `log` carries over the wire. */
const pageSize = 500;

/** What an instance says first. */
interface Greeting {
  readonly token: string;
}

/** The number of the call, in the order of calls; what is called; with what. */
type Call = readonly [number: number, method: keyof typeof methods, argument: never];

type Answer =
  | readonly [number: number, is: 'result', result: unknown]
  | readonly [number: number, is: 'conflict', moved: readonly Ref[], heads: readonly Ref[]]
  | readonly [number: number, is: 'refused', code: ErrorCode, message: string]
  | readonly [number: number, is: 'failed', message: string];

const methods = {
  get: (store: StateStore, refs: readonly Ref[]) => store.get(refs),
  find: (store: StateStore, query: Query) => store.find(query),
  log: (store: StateStore, query: LogQuery) => firstEntries(store.log(query)),
  commit: (store: StateStore, unit: UnitOfWork) => store.commit(unit),
  due: (store: StateStore, { now, limit, except }: { now: number; limit: number; except?: readonly Ref[] }) =>
    store.due(now, limit, except),
  unsent: (store: StateStore, query: UnsentQuery) => store.unsent(query),
  sent: (store: StateStore, ids: readonly string[]) => store.sent(ids),
};

/**
 * Serves a state store to the instances, on a socket that only this user's processes can open: one connection each, on which
 * calls need not wait for each other's answers.
 */
export class StateServer {
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  constructor(store: StateStore, token: string) {
    this.#server = createServer((socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
      // Gone, and with it whoever could be answered.
      socket.on('error', () => {});
      let greeted = false;
      const stream = new JsonStream(socket, (value) => {
        if (greeted) void answer(store, value as Call).then((answer) => stream.send(answer));
        else if ((value as Greeting).token === token) greeted = true;
        else socket.destroy();
      });
    });
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, resolve);
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }
}

async function answer(store: StateStore, [number, method, argument]: Call): Promise<Answer> {
  try {
    return [number, 'result', await methods[method](store, argument)];
  } catch (error) {
    if (error instanceof ConflictError) return [number, 'conflict', error.moved, error.heads];
    if (error instanceof DormouseError) return [number, 'refused', error.code, error.message];
    return [number, 'failed', (error as Error).message];
  }
}

async function firstEntries(log: AsyncIterable<Entry>): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of log) if (entries.push(entry) === pageSize) break;
  return entries;
}

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: DormouseError) => void;
}

/** The state store as an instance sees it. Connects at the first call, and again where the connection was lost. */
export class RemoteStateStore implements StateStore {
  readonly #socketPath: string;
  readonly #token: string;
  #connection: Connection | undefined;

  constructor(socketPath: string, token: string) {
    this.#socketPath = socketPath;
    this.#token = token;
  }

  get(refs: readonly Ref[]): Promise<Versioned[]> {
    return this.#call('get', refs);
  }

  find(query: Query): Promise<Page> {
    return this.#call('find', query);
  }

  async *log(query: LogQuery): AsyncIterable<Entry> {
    for (let after = query.after; ; ) {
      const entries = await this.#call<Entry[]>('log', { ...query, ...(after !== undefined && { after }) });
      yield* entries;
      if (entries.length < pageSize) return;
      after = entries.at(-1)!.cursor;
    }
  }

  commit(unit: UnitOfWork): Promise<Committed> {
    return this.#call('commit', unit);
  }

  due(now: number, limit: number, except?: readonly Ref[]): Promise<Versioned[]> {
    return this.#call('due', { now, limit, except });
  }

  unsent(query: UnsentQuery): Promise<Unsent[]> {
    return this.#call('unsent', query);
  }

  sent(ids: readonly string[]): Promise<void> {
    return this.#call('sent', ids);
  }

  #call<T>(method: keyof typeof methods, argument: unknown): Promise<T> {
    if (!this.#connection?.isOpen) this.#connection = new Connection(this.#socketPath, this.#token);
    return this.#connection.call(method, argument);
  }
}

/** Calls under way on one connection. It keeps the process alive while there are any. */
class Connection {
  isOpen = true;
  readonly #socket: Socket;
  readonly #stream: JsonStream;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  constructor(socketPath: string, token: string) {
    this.#socket = connect(socketPath);
    this.#stream = new JsonStream(this.#socket, (value) => this.#answered(value as Answer));
    this.#stream.send({ token } satisfies Greeting);
    let cause: Error | undefined;
    this.#socket.on('error', (error) => {
      cause = error;
    });
    this.#socket.on('close', () => {
      this.isOpen = false;
      for (const { reject } of this.#waiting.values())
        reject(unavailable(cause ?? new Error('the connection was lost')));
      this.#waiting.clear();
    });
  }

  call<T>(method: keyof typeof methods, argument: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const number = ++this.#calls;
      this.#waiting.set(number, { resolve, reject });
      this.#socket.ref();
      this.#stream.send([number, method, argument]);
    });
  }

  #answered(answer: Answer): void {
    const [number, is] = answer;
    const { resolve, reject } = this.#waiting.get(number)!;
    this.#waiting.delete(number);
    if (this.#waiting.size === 0) this.#socket.unref();
    if (is === 'result') resolve(answer[2] as never);
    else if (is === 'conflict') reject(new ConflictError(answer[2], answer[3]));
    else if (is === 'refused') reject(new DormouseError(answer[2], answer[3]));
    else reject(unavailable(new Error(answer[2])));
  }
}

function unavailable(cause: unknown): DormouseError {
  return new DormouseError('store.unavailable', 'the state store did not answer; is the host up?', { cause });
}
