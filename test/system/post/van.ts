import { on, PermanentError, service } from '@dormouse/core';
import { parcel, parcelSent } from './parcel.ts';

export default service('van', [
  on(
    parcelSent,
    async ({ data }, step) => {
      if (data.fails === 'for good') throw new PermanentError('the road is closed');
      if (data.fails === 'once') throw new Error('a flat tyre');
      const sent = await step.workflow(parcel);
      sent.create({ id: sent.id, broughtBy: 'van' });
    },
    { retry: { minBackoff: '5s' } },
  ),
]);
