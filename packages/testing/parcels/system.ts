import { system } from '@dormouse/core';
import { collected, overdue, posted, scanned } from './parcel.ts';

/** Small, and with everything that can go wrong: an outside, two readers of one topic, a document that many change, a timer. */
export default system('parcels', {
  topics: [posted, collected, scanned, overdue],
  services: { courier: './courier.ts', desk: './desk.ts' },
  commands: './commands.ts',
  simulation: './simulation.ts',
});
