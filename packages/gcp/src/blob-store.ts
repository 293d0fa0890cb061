import { createHash } from 'node:crypto';
import { type BlobStore, DormouseError } from '@dormouse/core';
import { answering, GoogleError } from './google-error.ts';
import type { GoogleRest } from './google-rest.ts';
import { resumableUpload } from './resumable-upload.ts';

export const storageUrl = 'https://storage.googleapis.com';

export interface GcsBlobStoreOptions {
  readonly rest: GoogleRest;
  readonly bucket: string;
  /** What is larger is uploaded in pieces of this size: a multiple of 256 KiB. Default 8 MiB. */
  readonly pieceBytes?: number;
}

/** Of one removal; each is a request of its own. */
const removingAtOnce = 16;
/** A content that is not what was stored may have been damaged on its way. */
const maxReads = 3;

/**
 * Objects of a bucket, named by their keys. An object appears whole or not at all, and is written once: a precondition says that
 * there is none. Cloud Storage checks what it is sent by its MD5, and what it answers is checked by the same.
 * Source: cloud.google.com/storage/docs/json_api/v1.
 */
export class GcsBlobStore implements BlobStore {
  readonly #rest: GoogleRest;
  readonly #bucket: string;
  readonly #pieceBytes: number;

  constructor({ rest, bucket, pieceBytes = 8 * 1024 * 1024 }: GcsBlobStoreOptions) {
    this.#rest = rest;
    this.#bucket = bucket;
    this.#pieceBytes = pieceBytes;
  }

  put(key: string, bytes: Uint8Array, contentType: string): Promise<void> {
    const metadata = { name: key, contentType, md5Hash: md5(bytes) };
    return answering(async () => {
      try {
        const path = `/upload/storage/v1/b/${encodeURIComponent(this.#bucket)}/o?ifGenerationMatch=0`;
        if (bytes.byteLength > this.#pieceBytes) {
          await resumableUpload(this.#rest, { path, metadata, bytes, pieceBytes: this.#pieceBytes });
        } else {
          const { body, type } = related(metadata, bytes);
          const headers = { 'content-type': type };
          await this.#rest.request({ method: 'POST', path: `${path}&uploadType=multipart`, headers, bytes: body });
        }
      } catch (error) {
        // It is there: written before, or by a try whose answer was lost.
        if (!isStatus(error, 'FAILED_PRECONDITION')) throw error;
      }
    });
  }

  get(key: string): Promise<Uint8Array> {
    return answering(async () => {
      for (let reads = 1; ; reads++) {
        const { status, bytes, headers } = await this.#rest.request({
          method: 'GET',
          path: `${this.#path(key)}?alt=media`,
          answers: [404],
        });
        if (status === 404) throw this.#missing(key, bytes.toString());
        const stored = md5Of(headers['x-goog-hash']);
        if (stored === undefined || stored === md5(bytes)) return bytes;
        if (reads < maxReads) continue;
        throw new DormouseError('blob.damaged', `the file "${key}" came from Cloud Storage damaged, ${reads} times`);
      }
    });
  }

  removeAll(prefix: string): Promise<number> {
    return answering(async () => {
      if (!prefix.endsWith('/')) return this.#remove(prefix);
      let removed = 0;
      for (let pageToken: string | undefined, first = true; first || pageToken !== undefined; first = false) {
        const query = new URLSearchParams({
          prefix,
          fields: 'items(name),nextPageToken',
          ...(pageToken !== undefined && { pageToken }),
        });
        const page = await this.#rest.json<{ items?: { name: string }[]; nextPageToken?: string }>({
          method: 'GET',
          path: `${this.#path()}?${query}`,
        });
        const names = (page.items ?? []).map(({ name }) => name);
        for (let at = 0; at < names.length; at += removingAtOnce) {
          const some = names.slice(at, at + removingAtOnce).map((name) => this.#remove(name));
          removed += (await Promise.all(some)).reduce((sum, each) => sum + each, 0);
        }
        pageToken = page.nextPageToken;
      }
      return removed;
    });
  }

  /** How many: none where it was gone. */
  async #remove(key: string): Promise<number> {
    const { status } = await this.#rest.request({ method: 'DELETE', path: this.#path(key), answers: [404] });
    return status === 404 ? 0 : 1;
  }

  #path(key?: string): string {
    const objects = `/storage/v1/b/${encodeURIComponent(this.#bucket)}/o`;
    return key === undefined ? objects : `${objects}/${encodeURIComponent(key)}`;
  }

  #missing(key: string, told: string): Error {
    if (!/specified bucket does not exist/i.test(told))
      return new DormouseError('blob.missing', `there is no file "${key}"`);
    return new GoogleError('NOT_FOUND', `there is no bucket "${this.#bucket}"; create it, or set DORMOUSE_BUCKET`, {
      code: 404,
    });
  }
}

/** Metadata and content in one request. Source: RFC 2387. */
function related(metadata: { readonly contentType: string }, bytes: Uint8Array) {
  // Not in the content, as sure as its hash is not.
  const boundary = `dormouse-${createHash('sha256').update(bytes).digest('hex')}`;
  const part = (type: string) => `--${boundary}\r\ncontent-type: ${type}\r\n\r\n`;
  const body = Buffer.concat([
    Buffer.from(`${part('application/json')}${JSON.stringify(metadata)}\r\n${part(metadata.contentType)}`),
    bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  return { body, type: `multipart/related; boundary=${boundary}` };
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}

/** `crc32c=…,md5=…`; what was put together from others has no MD5. */
function md5Of(header: string | string[] | undefined): string | undefined {
  return /md5=([^,\s]+)/.exec(String(header ?? ''))?.[1];
}

function isStatus(error: unknown, status: string): boolean {
  return error instanceof GoogleError && error.status === status;
}
