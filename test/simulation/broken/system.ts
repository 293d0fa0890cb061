import { system } from '@dormouse/core';
import { collected, overdue, posted, scanned } from '../../../packages/testing/parcels/parcel.ts';

const parcels = '../../../packages/testing/parcels';

/** Parcels, with a courier who forgets for whom he comes. */
export default system('parcels', {
  topics: [posted, collected, scanned, overdue],
  services: { courier: `${parcels}/courier.ts`, desk: `${parcels}/desk.ts` },
  commands: `${parcels}/commands.ts`,
  simulation: './forgetful.ts',
});
