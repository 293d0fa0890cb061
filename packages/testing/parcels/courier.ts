import { collection, on, service } from '@dormouse/core';
import { collected, parcel, posted } from './parcel.ts';

export const journeys = collection<{ readonly by: string }>('journeys');

export default service('courier', [
  on(posted, async (_event, step) => {
    const found = await step.workflow(parcel);
    const journey = await step.document(journeys, 'first');
    // A courier who has forgotten for whom he comes comes twice.
    const forgetful = process.env.PARCELS_FORGETFUL === 'yes';
    const by = await step.run('collect', found.id, async (id, { idempotencyKey, signal }) => {
      const headers = { 'idempotency-key': forgetful ? `${idempotencyKey} ${step.now}` : idempotencyKey };
      const answer = await fetch(`http://courier.example/collect/${id}`, { method: 'POST', headers, signal });
      if (!answer.ok) throw new Error(`the courier answered ${answer.status}`);
      return await answer.text();
    });
    journey.create({ by });
    if (found.data.status === 'posted') found.update({ status: 'collected' });
    step.publish(collected, {});
  }),
]);
