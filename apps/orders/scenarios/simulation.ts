import { invariant, simulation } from '@dormouse/testing';

interface Order {
  readonly sku: string;
  readonly quantity: number;
}

/** Up to five customers order something, whatever goes wrong meanwhile. */
export default simulation({
  acts: ({ chance, command }) =>
    Array.from({ length: chance.whole('customers', 1, 5) }, (_, index) => ({
      name: `customer ${index + 1} orders`,
      after: `${index}s` as const,
      run: async () => {
        await command('place', { body: { sku: `tea-${index}`, quantity: chance.whole(`quantity ${index}`, 1, 9) } });
      },
    })),
  invariants: [
    invariant('every order is reserved and billed, for what was ordered', ({ documents }) =>
      documents.in<Order>('workflows').flatMap(({ ref, id, data: { sku, quantity } }) => {
        const reserved = documents.get<{ reserved: number }>(`${ref}/reservations/${sku}`)?.reserved;
        const billedMinor = documents.get<{ amountMinor: number }>(`${ref}/invoices/first`)?.amountMinor;
        return reserved === quantity && billedMinor === quantity * 1999
          ? []
          : [`${id} of ${quantity}: ${reserved} reserved, ${billedMinor} billed`];
      }),
    ),
  ],
});
