import type { Statement, StatementLine } from './statement.ts';

/** What the lines did to the account: refunds and payments less charges and fees. */
export function netMinor(lines: readonly StatementLine[]): number {
  let net = 0;
  for (const { kind, amountMinor } of lines)
    net += kind === 'refund' || kind === 'payment' ? amountMinor : -amountMinor;
  return net;
}

/** The closing balance the bank states less the one its lines make; 0 where it states none. */
export function balanceGapMinor({ openingMinor, closingMinor, lines }: Statement): number {
  if (openingMinor === undefined || closingMinor === undefined) return 0;
  return closingMinor - (openingMinor + netMinor(lines));
}
