// Real: files; Cloud Storage's API over HTTP, as `StorageServer` serves it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, readFile, systemClock, systemRandom } from '@dormouse/core';
import { GcsBlobStore, GoogleRest } from '@dormouse/gcp';
import { FileBlobStore } from '@dormouse/local';
import { expect, test } from 'vitest';
import { type BlobBench, blobStoreSuite } from './blob-store-suite.ts';
import type { SeenRequest } from './google/ordered-faults.ts';
import { StorageServer } from './google/storage-server.ts';

const bucket = 'dormouse-files';
const pieceBytes = 256 * 1024;

async function files(): Promise<BlobBench> {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-files-'));
  return Object.assign(new FileBlobStore(folder), {
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
  });
}

interface GoogleFiles extends BlobBench {
  readonly server: StorageServer;
}

async function cloudStorage(): Promise<GoogleFiles> {
  const server = await StorageServer.start({ buckets: [bucket] });
  const rest = new GoogleRest({ url: server.url, clock: systemClock, random: systemRandom });
  return Object.assign(new GcsBlobStore({ rest, bucket, pieceBytes }), {
    server,
    async [Symbol.asyncDispose]() {
      rest.close();
      await server[Symbol.asyncDispose]();
    },
  });
}

blobStoreSuite('a folder', files);
blobStoreSuite('Cloud Storage', cloudStorage);

const key = 'WF-1/abc/statement.pdf';
const pdf = 'application/pdf';
const small = Buffer.from('a statement');
/** Four pieces and a bit. */
const large = Buffer.alloc(4 * pieceBytes + 1234, 'a long statement. ');

const isPiece = ({ method, headers }: SeenRequest) =>
  method === 'PUT' && /^bytes \d/.test(String(headers['content-range']));

for (const [what, bytes] of [
  ['small', small],
  ['large', large],
] as const) {
  test(`a ${what} file is put by its type, and where Cloud Storage has it already that is all right`, async () => {
    await using blobs = await cloudStorage();
    await blobs.put(key, bytes, pdf);
    const { generation, contentType } = blobs.server.objects(bucket).get(key)!;
    expect(contentType).toBe(pdf);
    await blobs.put(key, bytes, pdf);
    expect(blobs.server.objects(bucket).get(key)!.generation).toBe(generation);
  });
}

test.each([429, 500, 503])('%i is waited out, of a file that is put, read and removed', async (status) => {
  await using blobs = await cloudStorage();
  const { faults } = blobs.server;
  const twice = () => faults.order({ mishap: { status }, times: 2 });
  twice();
  await blobs.put(key, small, pdf);
  twice();
  expect(Buffer.from(await blobs.get(key))).toEqual(small);
  twice();
  expect(await blobs.removeAll('WF-1/')).toBe(1);
});

test('a connection that breaks loses nothing and writes nothing twice, whether it had happened or not', async () => {
  await using blobs = await cloudStorage();
  for (const mishap of ['dropped', 'answer lost'] as const) {
    blobs.server.faults.order({ mishap });
    await blobs.put(`${key}-${mishap}`, small, pdf);
    expect(Buffer.from(await blobs.get(`${key}-${mishap}`))).toEqual(small);
  }
});

test.each(['dropped', 'answer lost', { status: 503 }] as const)(
  'a large file whose third piece meets %s goes on from what is held',
  async (mishap) => {
    await using blobs = await cloudStorage();
    let pieces = 0;
    blobs.server.faults.order({ on: (request) => isPiece(request) && ++pieces === 3, mishap });
    await blobs.put(key, large, pdf);
    expect(Buffer.from(await blobs.get(key)).equals(large)).toBe(true);
    // Each once, and the third again where it had not arrived.
    const sent = blobs.server.requests.filter((each) => each.startsWith('PUT'));
    expect(sent).toHaveLength(5 + 1 + (mishap === 'answer lost' ? 0 : 1));
  },
);

test('a large file whose last answer is lost is there', async () => {
  await using blobs = await cloudStorage();
  let pieces = 0;
  blobs.server.faults.order({ on: (request) => isPiece(request) && ++pieces === 5, mishap: 'answer lost' });
  await blobs.put(key, large, pdf);
  expect(blobs.server.objects(bucket).get(key)!.bytes.equals(large)).toBe(true);
});

test('a large file whose session is gone in the middle begins again', async () => {
  await using blobs = await cloudStorage();
  let pieces = 0;
  const on = (request: SeenRequest) => {
    if (isPiece(request) && ++pieces === 3) blobs.server.forgetSessions();
    return false;
  };
  blobs.server.faults.order({ on });
  await blobs.put(key, large, pdf);
  expect(blobs.server.objects(bucket).get(key)!.bytes.equals(large)).toBe(true);
});

test('a large file that somebody else puts meanwhile is theirs, and no failure', async () => {
  await using blobs = await cloudStorage();
  let pieces = 0;
  const rival = new GoogleRest({ url: blobs.server.url, clock: systemClock, random: systemRandom });
  const other = new GcsBlobStore({ rest: rival, bucket });
  blobs.server.faults.order({
    on: (request) => isPiece(request) && ++pieces === 2,
    mishap: { status: 503 },
    delayMs: 50,
  });
  const ours = blobs.put(key, large, pdf);
  const theirs = other.put(key, small, pdf);
  await Promise.all([ours, theirs]);
  rival.close();
  expect([small.length, large.length]).toContain((await blobs.get(key)).length);
});

test('more files than a page tells of are all removed', async () => {
  await using blobs = await cloudStorage();
  const keys = Array.from({ length: 1_050 }, (_, n) => `WF-1/personal/X${n}/a.txt`);
  for (let at = 0; at < keys.length; at += 50) {
    await Promise.all(keys.slice(at, at + 50).map((each) => blobs.put(each, small, 'text/plain')));
  }
  expect(await blobs.removeAll('WF-1/personal/')).toBe(keys.length);
  expect(blobs.server.objects(bucket).size).toBe(0);
});

test('a content that was damaged where it lies is told from one that is whole', async () => {
  await using blobs = await cloudStorage();
  await blobs.put(key, small, pdf);
  blobs.server.damage(bucket, key, Buffer.from('a st@tement'));
  const bytes = await blobs.get(key);
  const file = { key, name: 'statement.pdf', sha256: 'f'.repeat(64), bytes: bytes.length, contentType: pdf };
  await expect(readFile(blobs, file)).rejects.toMatchObject({ code: 'blob.damaged' });
});

test('a content that is damaged on its way is asked for again, and never taken', async () => {
  await using blobs = await cloudStorage();
  await blobs.put(key, small, pdf);
  const damaged = { status: 200, body: 'a st@tement', headers: { 'x-goog-hash': `md5=${'A'.repeat(22)}==` } };
  blobs.server.faults.order({ mishap: damaged });
  expect(Buffer.from(await blobs.get(key))).toEqual(small);
  blobs.server.faults.order({ mishap: damaged, times: 3 });
  await expect(blobs.get(key)).rejects.toMatchObject({ code: 'blob.damaged', message: expect.stringContaining(key) });
});

test('a file that is not there is told as such, also where names have to do with buckets', async () => {
  await using server = await StorageServer.start({ buckets: ['acme-bucket'] });
  const rest = new GoogleRest({ url: server.url, clock: systemClock, random: systemRandom });
  const blobs = new GcsBlobStore({ rest, bucket: 'acme-bucket' });
  await expect(blobs.get('WF-1/abc/bucket.pdf')).rejects.toMatchObject({ code: 'blob.missing' });
  rest.close();
});

test('an upload that stands still waits longer and longer before it tries again', async () => {
  await using server = await StorageServer.start({ buckets: [bucket] });
  const waits: number[] = [];
  const after: Clock['after'] = (ms, callback) => {
    waits.push(ms);
    return systemClock.after(0, callback);
  };
  const rest = new GoogleRest({
    url: server.url,
    clock: { ...systemClock, after },
    random: { ...systemRandom, fraction: () => 0 },
  });
  const blobs = new GcsBlobStore({ rest, bucket, pieceBytes });
  const stuck = { status: 308, headers: {} };
  server.faults.order({ on: isPiece, mishap: stuck, times: Infinity });
  await expect(blobs.put(key, large, pdf)).rejects.toMatchObject({ code: 'store.unavailable' });
  expect(waits).toEqual([50, 100, 200, 400, 800]);
  rest.close();
});

test('what Cloud Storage does not answer, or has no bucket for, is the store’s fault and no missing file', async () => {
  await using blobs = await cloudStorage();
  const outage = blobs.server.faults.order({ mishap: { status: 503 }, times: Infinity });
  await expect(blobs.get(key)).rejects.toMatchObject({ code: 'store.unavailable' });
  await expect(blobs.put(key, small, pdf)).rejects.toMatchObject({ code: 'store.unavailable' });
  outage.takeBack();
  const rest = new GoogleRest({ url: blobs.server.url, clock: systemClock, random: systemRandom });
  const elsewhere = new GcsBlobStore({ rest, bucket: 'no-such' });
  for (const work of [elsewhere.get(key), elsewhere.put(key, small, pdf)]) {
    await expect(work).rejects.toMatchObject({ code: 'store.unavailable', message: expect.stringMatching(/bucket/) });
  }
  rest.close();
});
