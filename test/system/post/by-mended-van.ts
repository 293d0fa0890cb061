import { system } from '@dormouse/core';
import { parcelSent } from './parcel.ts';

export default system('post', { topics: [parcelSent], services: { van: './mended-van.ts' } });
