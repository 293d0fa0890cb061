import { collection, workflow } from '@dormouse/core';

export const order = workflow<{ id: string; sku: string; quantity: number }>({ idPrefix: 'OR' });
export const reservation = collection<{ reserved: number }>('reservations');
export const invoice = collection<{ amountMinor: number }>('invoices');
