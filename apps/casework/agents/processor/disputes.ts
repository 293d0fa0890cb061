import { type Finding, findWrongCharges } from '../../statement/findings.ts';
import type { Statement } from '../../statement/statement.ts';

/** What is disputed with one counterparty. */
export interface Dispute {
  readonly merchant: string;
  readonly amountMinor: number;
  readonly findings: readonly Finding[];
}

/** The wrong charges of a statement, and what follows for each counterparty, in the order they first appear. */
export function findDisputes(statement: Statement): {
  readonly findings: readonly Finding[];
  readonly disputes: readonly Dispute[];
} {
  const findings = findWrongCharges(statement);
  const disputes = [...Map.groupBy(findings, ({ merchant }) => merchant)].map(([merchant, own]) => ({
    merchant,
    amountMinor: own.reduce((sum, { amountMinor }) => sum + amountMinor, 0),
    findings: own,
  }));
  return { findings, disputes };
}
