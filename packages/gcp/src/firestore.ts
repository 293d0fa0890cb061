import type { Agent as HttpAgent, IncomingMessage } from 'node:http';
import type { Fields, Value } from './value.ts';

export interface FirestoreOptions {
  readonly project: string;
  /** Default `(default)`. */
  readonly database?: string;
  /** `host:port` of an emulator. Default: Google's. */
  readonly emulator?: string | undefined;
  /** The bearer token of a request. An emulator takes `owner`. */
  readonly token: () => Promise<string>;
  /** How long an answer may take. Default 30 s. */
  readonly timeoutMs?: number;
}

export interface FirestoreDocument {
  /** Below the database's root: `workflows/WF-1`. */
  readonly path: string;
  readonly fields: Fields;
  readonly updateTime: string;
}

/** What must hold of a document for the commit to happen: its last change, or that there is none. */
export type Precondition = { readonly updateTime: string } | { readonly exists: boolean };

interface Transform {
  readonly fieldPath: string;
  readonly increment?: Value;
  readonly minimum?: Value;
  readonly removeAllFromArray?: { readonly values: readonly Value[] };
}

/** One of google.firestore.v1.Write. */
export type FirestoreWrite = { readonly path: string; readonly precondition?: Precondition | undefined } & (
  | { readonly kind: 'verify'; readonly precondition: Precondition }
  | { readonly kind: 'delete' }
  | {
      readonly kind: 'update';
      readonly fields: Fields;
      /** Only these are touched; those of them without a value are removed. Default: the whole document is replaced. */
      readonly mask?: readonly string[];
      readonly transforms?: readonly Transform[];
    }
);

export interface Query {
  /** The document above the collection. Default: the root. */
  readonly parent?: string;
  readonly collection: string;
  /** Also deeper ones of that name. */
  readonly allDescendants?: boolean;
  readonly where?: readonly { readonly field: string; readonly op: string; readonly value: Value }[];
  readonly orderBy: readonly { readonly field: string; readonly direction?: 'ASCENDING' | 'DESCENDING' }[];
  /** The place after which it goes on: a value for each field of the order. */
  readonly startAfter?: readonly (Value | { readonly path: string })[];
  readonly limit: number;
}

/** What Firestore refused, by google.rpc.Code's name; `UNAVAILABLE` also where it did not answer. */
export class FirestoreError extends Error {
  override readonly name = 'FirestoreError';
  readonly status: string;

  constructor(status: string, message: string, options?: ErrorOptions) {
    super(`${status}: ${message}`, options);
    this.status = status;
  }
}

/**
 * Firestore's v1 API over REST: what a sleeping service must load for it is Node's own HTTP.
 * Source: google/firestore/v1/firestore.proto.
 */
export class Firestore {
  readonly #options: FirestoreOptions;
  readonly #http: typeof import('node:http') | typeof import('node:https');
  readonly #agent: HttpAgent;
  readonly #root: string;
  readonly #host: string;
  readonly #port: string | undefined;

  constructor(options: FirestoreOptions) {
    this.#options = options;
    const { emulator, project, database = '(default)' } = options;
    const module = emulator === undefined ? 'node:https' : 'node:http';
    this.#http = process.getBuiltinModule(module) as typeof import('node:https');
    this.#agent = new this.#http.Agent({ keepAlive: true, maxSockets: 64 });
    this.#root = `projects/${project}/databases/${database}/documents`;
    const [host, port] = (emulator ?? 'firestore.googleapis.com').split(':');
    this.#host = host!;
    this.#port = port;
  }

  /** In the order asked; undefined where there is none. */
  async get(paths: readonly string[]): Promise<(FirestoreDocument | undefined)[]> {
    if (paths.length === 0) return [];
    const answers = await this.#call<{ found?: Raw }[]>('batchGet', {
      documents: [...new Set(paths)].map((path) => this.#name(path)),
    });
    const found = new Map<string, FirestoreDocument>();
    for (const { found: raw } of answers) {
      if (raw) found.set(this.#pathOf(raw.name), this.#document(raw));
    }
    return paths.map((path) => found.get(path));
  }

  async query(query: Query): Promise<FirestoreDocument[]> {
    const { parent, collection, allDescendants, where = [], orderBy, startAfter, limit } = query;
    const filters = where.map(({ field, op, value }) => ({ fieldFilter: { field: { fieldPath: field }, op, value } }));
    const structuredQuery = {
      from: [{ collectionId: collection, ...(allDescendants && { allDescendants }) }],
      ...(filters.length > 0 && { where: { compositeFilter: { op: 'AND', filters } } }),
      orderBy: orderBy.map(({ field, direction = 'ASCENDING' }) => ({ field: { fieldPath: field }, direction })),
      ...(startAfter && {
        startAt: {
          values: startAfter.map((value) => ('path' in value ? { referenceValue: this.#name(value.path) } : value)),
          before: false,
        },
      }),
      limit,
    };
    const answers = await this.#call<{ document?: Raw }[]>('runQuery', { structuredQuery }, parent);
    return answers.flatMap(({ document }) => (document ? [this.#document(document)] : []));
  }

  /** All or nothing. The update time of each write, in their order; undefined of what was deleted. */
  async commit(writes: readonly FirestoreWrite[]): Promise<(string | undefined)[]> {
    const answer = await this.#call<{ writeResults?: { updateTime?: string }[] }>('commit', {
      writes: writes.map((write) => this.#raw(write)),
    });
    return (answer.writeResults ?? []).map(({ updateTime }) => updateTime);
  }

  close(): void {
    this.#agent.destroy();
  }

  #raw(write: FirestoreWrite): unknown {
    const currentDocument = write.precondition && { currentDocument: write.precondition };
    const name = this.#name(write.path);
    if (write.kind === 'verify') return { verify: name, ...currentDocument };
    if (write.kind === 'delete') return { delete: name, ...currentDocument };
    return {
      update: { name, fields: write.fields },
      ...(write.mask && { updateMask: { fieldPaths: write.mask } }),
      ...(write.transforms && { updateTransforms: write.transforms }),
      ...currentDocument,
    };
  }

  #name(path: string): string {
    return `${this.#root}/${path}`;
  }

  #pathOf(name: string): string {
    return name.slice(this.#root.length + 1);
  }

  #document({ name, fields = {}, updateTime }: Raw): FirestoreDocument {
    return { path: this.#pathOf(name), fields, updateTime };
  }

  async #call<T>(method: string, body: unknown, parent?: string): Promise<T> {
    const token = await this.#options.token();
    const { timeoutMs = 30_000 } = this.#options;
    // An id with a percent sign is no encoding of another: it is encoded once more for the address.
    const at = parent === undefined ? '' : `/${parent.split('/').map(encodeURIComponent).join('/')}`;
    return new Promise<T>((resolve, reject) => {
      const fail = (cause: Error) =>
        reject(new FirestoreError('UNAVAILABLE', `${method} was not answered: ${cause.message}`, { cause }));
      const outgoing = this.#http.request(
        {
          host: this.#host,
          port: this.#port,
          path: `/v1/${this.#root}${at}:${method}`,
          method: 'POST',
          agent: this.#agent,
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        },
        (response: IncomingMessage) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', fail);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            try {
              const answer = JSON.parse(text);
              if (response.statusCode === 200) resolve(answer);
              else reject(errorOf(response.statusCode!, answer));
            } catch (error) {
              fail(error as Error);
            }
          });
        },
      );
      outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`no answer for ${timeoutMs} ms`)));
      outgoing.on('error', fail);
      outgoing.end(JSON.stringify(body));
    });
  }
}

interface Raw {
  readonly name: string;
  readonly fields?: Fields;
  readonly updateTime: string;
}

function errorOf(code: number, answer: unknown): FirestoreError {
  const { error } = (Array.isArray(answer) ? answer[0] : answer) as { error?: { status?: string; message?: string } };
  return new FirestoreError(error?.status ?? 'UNKNOWN', error?.message ?? `HTTP ${code}`);
}
