import { on, PermanentError, service } from '@dormouse/core';
import { parcel, parcelSent } from './parcel.ts';

/** Brings what is sent of each parcel in its order, and notes the labels. */
export function oneByOne(name: string, { isMended = false } = {}) {
  return service(name, [
    on(
      parcelSent,
      async ({ data: { fails, label = '' } }, step) => {
        if (fails === 'for good' && !isMended) throw new PermanentError('the road is closed');
        const sent = await step.workflow(parcel);
        if (!sent.exists) sent.create({ id: sent.id, broughtBy: `${name}: ${label}` });
        else sent.update({ broughtBy: `${sent.data.broughtBy} ${label}` });
      },
      { order: 'workflow' },
    ),
  ]);
}
