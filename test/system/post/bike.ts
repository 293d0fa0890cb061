import { on, service } from '@dormouse/core';
import { parcel, parcelSent } from './parcel.ts';

export default service('bike', [
  on(parcelSent, async (_event, step) => {
    const sent = await step.workflow(parcel);
    sent.create({ id: sent.id, broughtBy: 'bike' });
  }),
]);
