import { systemClock, systemRandom } from '@dormouse/core';
import { Firestore, GoogleRest } from '@dormouse/gcp';
import type { Opened } from '../client-process.ts';

export async function open(address: string): Promise<Opened> {
  const rest = new GoogleRest({
    url: `http://${address}`,
    token: async () => 'owner',
    clock: systemClock,
    random: systemRandom,
  });
  const firestore = new Firestore({ project: 'bench', rest });
  const name = `things/${process.pid}`;
  let updateTime: string | undefined;
  return {
    read: async () => void (await firestore.get([name, `${name}/children/1`])),
    async write(n) {
      const fields = (what: string) => ({ what: { stringValue: what } });
      const create = (path: string, what: string) =>
        ({ kind: 'update', path, precondition: { exists: false }, fields: fields(what) }) as const;
      const [time] = await firestore.commit([
        {
          kind: 'update',
          path: name,
          precondition: updateTime === undefined ? { exists: false } : { updateTime },
          fields: { n: { integerValue: String(n) } },
        },
        create(`${name}/entries/${n}`, 'an entry of a log'),
        create(`inbox/${process.pid}-${n}`, 'settled'),
      ]);
      updateTime = time;
    },
  };
}
