import { Storage } from '@google-cloud/storage';
import type { Opened } from '../client-process.ts';

export async function open(address: string): Promise<Opened> {
  const bucket = new Storage({ projectId: 'bench', apiEndpoint: `http://${address}` }).bucket('bench');
  const bytes = Buffer.alloc(20_000, 'a statement ');
  return {
    read: async () => void (await bucket.file('first').download()),
    write: (n) =>
      bucket.file(`${process.pid}/${n}`).save(bytes, {
        resumable: false,
        contentType: 'application/pdf',
        preconditionOpts: { ifGenerationMatch: 0 },
      }),
  };
}
