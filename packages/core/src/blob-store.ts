import { DormouseError } from './errors.ts';
import { hmacSha256, sha256 } from './ids.ts';

/** Files, written once. A key is a path of safe names; what is written under one key never changes. */
export interface BlobStore {
  /** Durable when it resolves. Writing the same key again changes nothing. */
  put(key: string, bytes: Uint8Array, contentType: string): Promise<void>;
  /** @throws DormouseError `blob.missing` */
  get(key: string): Promise<Uint8Array>;
  /** All whose key begins so; `prefix` ends with `/`, or is a whole key. How many there were. Again changes nothing. */
  removeAll(prefix: string): Promise<number>;
}

/** How a document or event names a file. It enters the log, so of a personal file nothing in it tells of the content. */
export interface FileRef {
  readonly key: string;
  readonly name: string;
  /** Of the content, in hex; of a personal file HMAC-SHA256, under a salt that lies beside it and is erased with it. */
  readonly sha256: string;
  readonly bytes: number;
  readonly contentType: string;
  /** Its content is personal data: erased with the client's, never copied into a log or an event. */
  readonly personal?: true | undefined;
}

/** The content of a file, as it was written. @throws DormouseError `blob.missing`, `blob.damaged` */
export async function readFile(blobs: BlobStore, file: FileRef): Promise<Uint8Array> {
  const saltKey = saltKeyOf(file);
  const [bytes, salt] = await Promise.all([
    blobs.get(file.key),
    saltKey === undefined ? undefined : blobs.get(saltKey),
  ]);
  if (fileHash(bytes, salt && Buffer.from(salt).toString()) === file.sha256) return bytes;
  throw new DormouseError('blob.damaged', `the file "${file.key}" is not what was written; restore it from a backup`);
}

/** What a reference says of a content. */
export function fileHash(content: Uint8Array, salt: string | undefined): string {
  return salt === undefined ? sha256(content) : hmacSha256(salt, content);
}

/**
 * Where the salt of a personal file lies; undefined where its hash has none: it is not personal, or was written before there
 * were salts. Beside the file, not in it, so that a person can open it.
 */
export function saltKeyOf({ key }: Pick<FileRef, 'key'>): string | undefined {
  const [workflow, kind, apart] = key.split('/');
  return kind === 'personal' ? `${workflow}/personal/${apart}.salt` : undefined;
}
