/** The statement of an account on which each merchant charges 12.50 twice. */
export function doubleCharges(merchants: readonly string[]): unknown {
  return {
    accountId: 'story-1',
    holder: 'Ada Example',
    currency: 'EUR',
    period: { from: '2025-12-01', to: '2025-12-31' },
    lines: merchants.flatMap((merchant, index) =>
      ['03', '04'].map((day) => ({
        id: `${index}-${day}`,
        date: `2025-12-${day}`,
        merchant,
        description: 'Lunch',
        amountMinor: 1250,
        kind: 'charge',
      })),
    ),
  };
}
