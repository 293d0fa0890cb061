import { createHash, randomUUID } from 'node:crypto';
import { type ApiAnswer, ApiRefusal, ApiServer } from './api-server.ts';
import { crc32c } from './crc32c.ts';
import type { SeenRequest } from './ordered-faults.ts';

export interface StorageServerOptions {
  /** That are there from the start. */
  readonly buckets?: readonly string[];
  /** Whether a caller may. Default: everyone. */
  readonly admits?: (authorization: string | undefined) => boolean;
}

/** A generation of an object. */
export interface StoredObject {
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly generation: number;
  readonly timeCreated: string;
}

interface Metadata {
  readonly name?: string;
  readonly contentType?: string;
  readonly md5Hash?: string;
  readonly crc32c?: string;
}

interface Session {
  readonly bucket: string;
  readonly metadata: Metadata;
  readonly query: URLSearchParams;
  held: Buffer;
  done: ApiAnswer | undefined;
}

/** All but the last piece of a resumable upload are multiples of it. */
const quantumBytes = 256 * 1024;
const longestNameBytes = 1024;

/**
 * Cloud Storage's JSON API as far as objects go: simple, multipart and resumable uploads, preconditions by generation, checksums
 * that are checked, downloads, listings by pages. Memory only.
 * Source: cloud.google.com/storage/docs/json_api/v1/objects, performing-resumable-uploads.
 */
export class StorageServer extends ApiServer {
  readonly #options: StorageServerOptions;
  readonly #buckets = new Map<string, Map<string, StoredObject>>();
  readonly #sessions = new Map<string, Session>();
  #generation = 1_700_000_000_000_000;

  private constructor(options: StorageServerOptions) {
    super((request) => this.#answer(request));
    this.#options = options;
    for (const name of options.buckets ?? []) this.#buckets.set(name, new Map());
  }

  static start(options: StorageServerOptions = {}): Promise<StorageServer> {
    return new StorageServer(options).listen();
  }

  /** What is in a bucket, by name. */
  objects(bucket: string): ReadonlyMap<string, StoredObject> {
    return this.#bucket(bucket);
  }

  /** Puts other bytes in the place of an object's, as a disk that rots. */
  damage(bucket: string, name: string, bytes: Uint8Array): void {
    const objects = this.#bucket(bucket);
    objects.set(name, { ...objects.get(name)!, bytes: Buffer.from(bytes) });
  }

  /** Sessions of resumable uploads are gone, as after a week. */
  forgetSessions(): void {
    this.#sessions.clear();
  }

  async #answer(request: SeenRequest): Promise<ApiAnswer> {
    const { admits = () => true } = this.#options;
    if (!admits(request.headers.authorization as string | undefined)) {
      throw new ApiRefusal(401, 'UNAUTHENTICATED', 'Invalid Credentials');
    }
    const { pathname, searchParams: query } = new URL(request.path, this.url);
    if (pathname === '/storage/v1/b' && request.method === 'POST') return this.#createBucket(request);
    const [, upload, bucket, name] =
      /^(?:\/(upload|download))?\/storage\/v1\/b\/([^/]+)(?:\/o(?:\/(.+))?)?$/.exec(pathname) ?? [];
    if (bucket === undefined) throw new ApiRefusal(404, 'NOT_FOUND', 'Not Found');
    const objects = this.#bucket(decodeURIComponent(bucket));
    if (upload === 'upload') return this.#upload(decodeURIComponent(bucket), request, query);
    if (!/\/o(\/|$)/.test(pathname)) return { json: { kind: 'storage#bucket', name: decodeURIComponent(bucket) } };
    if (name === undefined) return listed(decodeURIComponent(bucket), objects, query);
    const key = decodeURIComponent(name);
    const object = objects.get(key);
    if (!object) throw new ApiRefusal(404, 'NOT_FOUND', `No such object: ${decodeURIComponent(bucket)}/${key}`);
    if (request.method === 'DELETE') {
      objects.delete(key);
      return { status: 204 };
    }
    const isMedia = query.get('alt') === 'media' || upload === 'download';
    return isMedia ? content(object) : { json: described(decodeURIComponent(bucket), key, object) };
  }

  #createBucket(request: SeenRequest): ApiAnswer {
    const { name } = JSON.parse(request.body.toString());
    if (this.#buckets.has(name)) throw new ApiRefusal(409, 'ALREADY_EXISTS', 'You already own this bucket.');
    this.#buckets.set(name, new Map());
    return { json: { kind: 'storage#bucket', name } };
  }

  #bucket(name: string): Map<string, StoredObject> {
    const objects = this.#buckets.get(name);
    if (!objects) throw new ApiRefusal(404, 'NOT_FOUND', 'The specified bucket does not exist.');
    return objects;
  }

  #upload(bucket: string, request: SeenRequest, query: URLSearchParams): ApiAnswer {
    const session = query.get('upload_id');
    if (session !== null) return this.#resume(session, request);
    switch (query.get('uploadType')) {
      case 'media':
        return this.#store(bucket, { contentType: String(request.headers['content-type'] ?? '') }, query, request.body);
      case 'multipart': {
        const { metadata, bytes } = parted(request);
        return this.#store(bucket, metadata, query, bytes);
      }
      case 'resumable': {
        const id = randomUUID();
        const contentType = request.headers['x-upload-content-type'];
        const metadata = { contentType: String(contentType ?? ''), ...JSON.parse(request.body.toString() || '{}') };
        // Told at once where it can be.
        this.#check(bucket, nameOf(metadata, query), query);
        this.#sessions.set(id, { bucket, metadata, query, held: Buffer.alloc(0), done: undefined });
        const path = request.path.split('?', 1)[0];
        return { headers: { location: `${this.url}${path}?uploadType=resumable&upload_id=${id}` } };
      }
      default:
        throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'uploadType must be media, multipart or resumable');
    }
  }

  #resume(id: string, request: SeenRequest): ApiAnswer {
    const session = this.#sessions.get(id);
    if (!session) throw new ApiRefusal(404, 'NOT_FOUND', 'No such upload.');
    if (session.done) return session.done;
    const held = () => {
      const range = session.held.length > 0 ? { range: `bytes=0-${session.held.length - 1}` } : {};
      return { status: 308, headers: range };
    };
    const [, from, to, total] =
      /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(String(request.headers['content-range'] ?? '')) ?? [];
    if (total === undefined) throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'Failed to parse Content-Range header.');
    if (from !== undefined) {
      const isLast = total !== '*' && Number(to) + 1 === Number(total);
      const isWhole = request.body.length === Number(to) + 1 - Number(from);
      if (!isWhole || (!isLast && request.body.length % quantumBytes !== 0)) {
        throw new ApiRefusal(
          400,
          'INVALID_ARGUMENT',
          `a piece of ${request.body.length} bytes at ${from}-${to} of ${total}`,
        );
      }
      if (Number(from) > session.held.length) throw new ApiRefusal(503, 'UNAVAILABLE', 'Invalid request: a gap.');
      session.held = Buffer.concat([session.held.subarray(0, Number(from)), request.body]);
    }
    if (total === '*' || session.held.length < Number(total)) return held();
    session.done = this.#store(session.bucket, session.metadata, session.query, session.held);
    return session.done;
  }

  #check(bucket: string, name: string, query: URLSearchParams): void {
    if (name === '' || Buffer.byteLength(name) > longestNameBytes || /[\r\n]/.test(name)) {
      throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'The object name is invalid.');
    }
    const wanted = query.get('ifGenerationMatch');
    const generation = this.#bucket(bucket).get(name)?.generation ?? 0;
    if (wanted !== null && Number(wanted) !== generation) {
      throw new ApiRefusal(
        412,
        'FAILED_PRECONDITION',
        'At least one of the pre-conditions you specified did not hold.',
      );
    }
  }

  #store(bucket: string, metadata: Metadata, query: URLSearchParams, bytes: Buffer): ApiAnswer {
    const name = nameOf(metadata, query);
    this.#check(bucket, name, query);
    const isSame =
      (metadata.md5Hash ?? md5(bytes)) === md5(bytes) && (metadata.crc32c ?? crc32c(bytes)) === crc32c(bytes);
    if (!isSame) throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'Provided checksum does not match the content.');
    const { contentType = '' } = metadata;
    const object: StoredObject = {
      bytes,
      contentType: contentType || 'application/octet-stream',
      generation: ++this.#generation,
      timeCreated: new Date().toISOString(),
    };
    this.#bucket(bucket).set(name, object);
    return { json: described(bucket, name, object) };
  }
}

function nameOf({ name }: Metadata, query: URLSearchParams): string {
  return query.get('name') ?? name ?? '';
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}

function described(bucket: string, name: string, { bytes, contentType, generation, timeCreated }: StoredObject) {
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${generation}`,
    name,
    bucket,
    generation: String(generation),
    metageneration: '1',
    contentType,
    size: String(bytes.length),
    md5Hash: md5(bytes),
    crc32c: crc32c(bytes),
    timeCreated,
    updated: timeCreated,
  };
}

function content({ bytes, contentType, generation }: StoredObject): ApiAnswer {
  const headers = {
    'content-type': contentType,
    'x-goog-generation': String(generation),
    'x-goog-hash': `crc32c=${crc32c(bytes)},md5=${md5(bytes)}`,
    'x-goog-stored-content-encoding': 'identity',
    'x-goog-stored-content-length': String(bytes.length),
  };
  return { bytes, headers };
}

function listed(bucket: string, objects: ReadonlyMap<string, StoredObject>, query: URLSearchParams): ApiAnswer {
  const size = Math.min(Number(query.get('maxResults') ?? 1000), 1000);
  const after = Buffer.from(query.get('pageToken') ?? '', 'base64').toString();
  const names = [...objects.keys()]
    .filter((name) => name.startsWith(query.get('prefix') ?? '') && name > after)
    .toSorted();
  const page = names.slice(0, size);
  const last = names.length > size ? { nextPageToken: Buffer.from(page.at(-1)!).toString('base64') } : {};
  const items = page.map((name) => described(bucket, name, objects.get(name)!));
  return { json: { kind: 'storage#objects', ...(items.length > 0 && { items }), ...last } };
}

/** Source: RFC 2387: the first part is the metadata, the second the content. */
function parted({ headers, body }: SeenRequest): { readonly metadata: Metadata; readonly bytes: Buffer } {
  const boundary = /boundary="?([^";]+)"?/.exec(String(headers['content-type']))?.[1];
  if (boundary === undefined) throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'multipart/related needs a boundary');
  const mark = Buffer.from(`--${boundary}`);
  const places: number[] = [];
  for (let at = body.indexOf(mark); at !== -1; at = body.indexOf(mark, at + mark.length)) places.push(at);
  const parts = places.slice(0, -1).map((at, index) => {
    const part = body.subarray(at + mark.length + 2, places[index + 1]! - 2);
    const end = part.indexOf('\r\n\r\n');
    return { headers: part.subarray(0, end).toString(), bytes: part.subarray(end + 4) };
  });
  const [first, second] = parts;
  if (!first || !second) throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'multipart/related needs two parts');
  const contentType = /^content-type:\s*(.+)$/im.exec(second.headers)?.[1]?.trim();
  return {
    metadata: { ...(contentType && { contentType }), ...JSON.parse(first.bytes.toString()) },
    bytes: second.bytes,
  };
}
