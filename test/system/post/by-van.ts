import { system } from '@dormouse/core';
import { parcelSent } from './parcel.ts';

/** A post office, before its van became a bike. */
export default system('post', { topics: [parcelSent], services: { van: './van.ts' } });
