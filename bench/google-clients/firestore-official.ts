import { Firestore, type Timestamp } from '@google-cloud/firestore';
import { OAuth2Client } from 'google-auth-library';
import type { Opened } from '../client-process.ts';

/** @param preferRest over REST, for which an emulator needs somebody who may do everything */
export async function openOfficial(address: string, preferRest: boolean): Promise<Opened> {
  process.env.FIRESTORE_EMULATOR_HOST = address;
  const authClient = new OAuth2Client();
  authClient.setCredentials({ access_token: 'owner', expiry_date: Date.now() + 3_600_000 });
  const firestore = new Firestore({ projectId: 'bench', ...(preferRest && { preferRest, authClient }) } as object);
  const thing = firestore.collection('things').doc(String(process.pid));
  let updateTime: Timestamp | undefined;
  return {
    read: async () => void (await firestore.getAll(thing, thing.collection('children').doc('1'))),
    async write(n) {
      const batch = firestore.batch();
      if (updateTime) batch.update(thing, { n }, { lastUpdateTime: updateTime });
      else batch.create(thing, { n });
      batch.create(thing.collection('entries').doc(String(n)), { what: 'an entry of a log' });
      batch.create(firestore.collection('inbox').doc(`${process.pid}-${n}`), { what: 'settled' });
      const [first] = await batch.commit();
      updateTime = first!.writeTime;
    },
  };
}
