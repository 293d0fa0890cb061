import { type BlobStore, DormouseError } from '@dormouse/core';
import { describe, expect, test } from 'vitest';

/** A store of files, and nothing in it. */
export type BlobBench = BlobStore & AsyncDisposable;

const text = (content: string) => Buffer.from(content);

/** What every store of files must do. `open` gives an empty one to each test. */
export function blobStoreSuite(name: string, open: () => Promise<BlobBench>): void {
  describe(`files: ${name}`, () => {
    test('a file comes back as it was put, byte for byte', async () => {
      await using blobs = await open();
      const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) & 255);
      await blobs.put('WF-1/abc/photo.bin', bytes, 'application/octet-stream');
      expect(Buffer.from(await blobs.get('WF-1/abc/photo.bin')).equals(bytes)).toBe(true);
    });

    test('an empty one too', async () => {
      await using blobs = await open();
      await blobs.put('WF-1/abc/empty.txt', new Uint8Array(), 'text/plain');
      expect(await blobs.get('WF-1/abc/empty.txt')).toHaveLength(0);
    });

    test('one of several megabytes too', async () => {
      await using blobs = await open();
      const bytes = Buffer.alloc(5_000_001, 'several megabytes ');
      await blobs.put('WF-1/abc/large.txt', bytes, 'text/plain');
      expect(Buffer.from(await blobs.get('WF-1/abc/large.txt')).equals(bytes)).toBe(true);
    });

    test('what is put again under the same key changes nothing', async () => {
      await using blobs = await open();
      await blobs.put('WF-1/abc/a.txt', text('first'), 'text/plain');
      await blobs.put('WF-1/abc/a.txt', text('second'), 'text/plain');
      expect(String(await blobs.get('WF-1/abc/a.txt'))).toBe('first');
    });

    test('of several at once under one key one counts, and none fails', async () => {
      await using blobs = await open();
      const contents = Array.from({ length: 8 }, (_, n) => `content ${n}`);
      await Promise.all(contents.map((each) => blobs.put('WF-1/abc/a.txt', text(each), 'text/plain')));
      expect(contents).toContain(String(await blobs.get('WF-1/abc/a.txt')));
    });

    test('one that is not there is missing, by its key', async () => {
      await using blobs = await open();
      const error = await blobs.get('WF-1/abc/none.txt').catch((each) => each);
      expect(error).toBeInstanceOf(DormouseError);
      expect(error).toMatchObject({ code: 'blob.missing', message: expect.stringContaining('WF-1/abc/none.txt') });
    });

    for (const name of [
      'Kündigung über 5 €.pdf',
      'a b+c.txt',
      '100%.txt',
      'what?#now&then=x.txt',
      '请求.json',
      "it's %2F.txt",
    ]) {
      test(`a file may be called ${name}`, async () => {
        await using blobs = await open();
        await blobs.put(`WF-1/personal/X1/${name}`, text(name), 'text/plain');
        expect(String(await blobs.get(`WF-1/personal/X1/${name}`))).toBe(name);
        expect(await blobs.removeAll('WF-1/personal/')).toBe(1);
      });
    }

    test('all below a prefix go, and nothing beside it', async () => {
      await using blobs = await open();
      const gone = ['WF-1/personal/X1/a.txt', 'WF-1/personal/X1.salt', 'WF-1/personal/X2/b.txt'];
      const kept = ['WF-1/personality/c.txt', 'WF-10/personal/d.txt', 'WF-1/abc/e.txt'];
      for (const key of [...gone, ...kept]) await blobs.put(key, text(key), 'text/plain');
      expect(await blobs.removeAll('WF-1/personal/')).toBe(gone.length);
      for (const key of gone) await expect(blobs.get(key)).rejects.toMatchObject({ code: 'blob.missing' });
      for (const key of kept) expect(String(await blobs.get(key))).toBe(key);
      expect(await blobs.removeAll('WF-1/personal/')).toBe(0);
    });

    test('a whole key goes alone', async () => {
      await using blobs = await open();
      for (const key of ['WF-1/personal/X1.salt', 'WF-1/personal/X1.salty'])
        await blobs.put(key, text(key), 'text/plain');
      expect(await blobs.removeAll('WF-1/personal/X1.salt')).toBe(1);
      expect(await blobs.removeAll('WF-1/personal/X1.salt')).toBe(0);
      expect(String(await blobs.get('WF-1/personal/X1.salty'))).toBe('WF-1/personal/X1.salty');
    });

    test('one that was removed can be written again', async () => {
      await using blobs = await open();
      await blobs.put('WF-1/abc/a.txt', text('first'), 'text/plain');
      await blobs.removeAll('WF-1/');
      await blobs.put('WF-1/abc/a.txt', text('second'), 'text/plain');
      expect(String(await blobs.get('WF-1/abc/a.txt'))).toBe('second');
    });
  });
}
