import { collection, on, service } from '@dormouse/core';
import { collected, overdue, overdueTimer, parcel, posted, scanned } from './parcel.ts';

export const receipts = collection<{ readonly of: string }>('receipts');

export default service('desk', [
  on(posted, async (_event, step) => {
    (await step.document(receipts, 'posted')).create({ of: 'posted' });
  }),
  on(collected, async (_event, step) => {
    (await step.document(receipts, 'collected')).create({ of: 'collected' });
  }),
  on(
    scanned,
    async ({ data }, step) => {
      const found = await step.workflow(parcel);
      await step.run(
        'tell station',
        data.station,
        async (station, { idempotencyKey, signal }) => {
          const headers = { 'idempotency-key': idempotencyKey };
          const answer = await fetch('http://stations.example/seen', {
            method: 'POST',
            headers,
            body: station,
            signal,
          });
          if (!answer.ok) throw new Error(`the station answered ${answer.status}`);
          return 'told';
        },
        { retry: { attempts: 2, minBackoff: '10s' } },
      );
      found.update({ scans: [...found.data.scans, data.station] });
      if (found.data.status !== 'received')
        step.publish(overdue, { reminder: 1 }, { after: '3d', timer: overdueTimer });
    },
    { order: 'workflow' },
  ),
  on(overdue, async ({ data }, step) => {
    const found = await step.workflow(parcel);
    found.update({ reminders: found.data.reminders + 1 });
    if (data.reminder < 3) step.publish(overdue, { reminder: data.reminder + 1 }, { after: '3d', timer: overdueTimer });
  }),
]);
