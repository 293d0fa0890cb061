import { systemClock, systemRandom } from '@dormouse/core';
import { GcsBlobStore, GoogleRest } from '@dormouse/gcp';
import type { Opened } from '../client-process.ts';

export async function open(address: string): Promise<Opened> {
  const rest = new GoogleRest({ url: `http://${address}`, clock: systemClock, random: systemRandom });
  const blobs = new GcsBlobStore({ rest, bucket: 'bench' });
  const bytes = Buffer.alloc(20_000, 'a statement ');
  return {
    read: async () => void (await blobs.get('first')),
    write: (n) => blobs.put(`${process.pid}/${n}`, bytes, 'application/pdf'),
  };
}
