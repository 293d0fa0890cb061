import { openOfficial } from './firestore-official.ts';

export const open = (address: string) => openOfficial(address, true);
