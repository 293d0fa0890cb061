import { systemClock, systemRandom } from '@dormouse/core';
import { GoogleRest, TaskScheduler } from '@dormouse/gcp';
import type { Opened } from '../client-process.ts';

const queue = 'projects/bench/locations/here/queues/timers';

export async function open(address: string): Promise<Opened> {
  const rest = new GoogleRest({ url: `http://${address}`, clock: systemClock, random: systemRandom });
  const scheduler = new TaskScheduler({
    rest,
    queue,
    serviceUrl: 'http://127.0.0.1:1',
    serviceAccount: 'bench@bench.iam.gserviceaccount.com',
    clock: systemClock,
    log: { info() {}, warn() {}, error: (moment, facts) => console.error(moment, facts) },
  });
  const from = Date.now() + 3_600_000 + (process.pid % 1000) * 1_000_000;
  return {
    read: async () => void (await rest.json({ method: 'GET', path: `/v2/${queue}` })),
    write: (n) => scheduler.wake(from + n * 1000),
  };
}
