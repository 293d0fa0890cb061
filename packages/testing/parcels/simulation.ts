import type { DeadLetter } from '@dormouse/core';
import { type Act, invariant, simulation } from '../src/index.ts';
import type { Parcel } from './parcel.ts';

interface Outside {
  /** Idempotency keys under which each parcel was collected. */
  readonly collections: Map<string, Set<string>>;
  /** Of each parcel, what was scanned for certain. */
  readonly scans: Map<string, string[]>;
}

export default simulation<Outside>({
  faultsFor: '10d',
  outside: () => ({ collections: new Map(), scans: new Map() }),
  fetch: async (request, { collections }) => {
    const { hostname, pathname } = new URL(request.url);
    if (hostname === 'stations.example') return new Response('thank you');
    const id = pathname.split('/').at(-1)!;
    const keys = collections.get(id) ?? new Set();
    collections.set(id, keys.add(request.headers.get('idempotency-key')!));
    return new Response('the yellow van');
  },
  acts: ({ chance, command }, { scans }) =>
    Array.from({ length: chance.whole('parcels', 1, 2) }, (_, index): Act[] => {
      let id: string | undefined;
      const about = (name: string, after: Act['after'], run: (id: string) => Promise<void>): Act => ({
        name: `${name} ${index + 1}`,
        ...(after && { after }),
        run: async () => {
          if (id !== undefined) await run(id);
        },
      });
      const scanning = Array.from({ length: chance.whole(`scans of ${index}`, 0, 4) }, (_, nth) =>
        about(
          `scan ${nth + 1} of`,
          chance.pick(`scan ${index} ${nth}`, ['200ms', '1s', '1s', '3d']),
          async (parcel) => {
            const station = `station ${nth + 1}`;
            const { ok } = await command('scan', { params: { id: parcel }, body: { station } });
            if (ok) scans.set(parcel, [...(scans.get(parcel) ?? []), station]);
          },
        ),
      );
      return [
        {
          name: `post ${index + 1}`,
          run: async () => {
            const posted = await command('post');
            if (posted.ok) id = (posted.output as { parcelId: string }).parcelId;
          },
        },
        ...scanning,
        ...(chance.chance(`receives ${index}`, 0.7)
          ? [
              about('receive', chance.pick(`received ${index}`, ['2s', '3d', '4d']), async (parcel) => {
                await command('receive', { params: { id: parcel } });
              }),
            ]
          : []),
      ];
    }).flat(),
  mend: async ({ command }, { documents }) => {
    for (const { id, data } of documents.in<DeadLetter>('dead-letters')) {
      if (data.state === 'open') await command('redriveDeadLetter', { params: { id } });
    }
  },
  invariants: [
    invariant('every parcel is collected once', ({ outside, documents }) =>
      documents.in<Parcel>('workflows').flatMap(({ id, ref }) => {
        const keys = outside.collections.get(id)?.size ?? 0;
        const isDead = documents.get(`${ref}/journeys/first`) === undefined;
        return keys === 1 || (isDead && keys < 2) ? [] : [`${id} was collected ${keys} times`];
      }),
    ),
    invariant('no scan is forgotten', ({ outside, documents }) =>
      documents.in<Parcel>('workflows').flatMap(({ id, data }) => {
        const [wanted, found] = [outside.scans.get(id) ?? [], data.scans].map((each) => each.toSorted().join());
        return wanted === found ? [] : [`${id} was scanned at ${wanted}, and has ${found}`];
      }),
    ),
  ],
});
