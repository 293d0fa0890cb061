import { balanceGapMinor } from './balance.ts';
import { compareDates, daysBetween } from './calendar.ts';
import { feeSchedule } from './fee-schedule.ts';
import { brokenPromises } from './refunds.ts';
import type { FeeTerm, RecurringTerm, Statement, StatementLine } from './statement.ts';

export const rules = [
  'charge_after_cancellation',
  'recurring_overcharge',
  'duplicate_charge',
  'fee_over_schedule',
  'unlisted_fee',
  'missing_refund',
  'arithmetic_error',
] as const;
export type Rule = (typeof rules)[number];

/** A wrong charge: what is claimed back, from whom, and why. */
export type Finding = {
  readonly rule: Rule;
  readonly amountMinor: number;
  readonly currency: string;
  readonly date: string;
  readonly merchant: string;
  /** The disputed line only, not what it was compared with; empty where the wrong is no line. */
  readonly lineIds: readonly string[];
};

type Verdict = Pick<Finding, 'rule' | 'amountMinor'> | undefined;

/**
 * Everything wrong on a statement: its lines in order of date, then position, each in one finding at most; then the
 * refunds that did not come; then a balance that does not add up.
 */
export function findWrongCharges(statement: Statement): Finding[] {
  return [...wrongLines(statement), ...missingRefunds(statement), ...arithmeticError(statement)];
}

function* wrongLines({ lines, terms, currency }: Statement): Generator<Finding> {
  const judgeCharge = chargeJudge(terms?.recurring ?? []);
  const judgeFee = feeJudge(terms?.fees ?? []);
  for (const line of lines.toSorted((a, b) => compareDates(a.date, b.date))) {
    const verdict = line.kind === 'charge' ? judgeCharge(line) : line.kind === 'fee' ? judgeFee(line) : undefined;
    if (verdict) yield { ...verdict, currency, date: line.date, merchant: line.merchant, lineIds: [line.id] };
  }
}

/** Judges charges in their order: the verdict on one depends on those before it. */
function chargeJudge(recurring: readonly RecurringTerm[]): (charge: StatementLine) => Verdict {
  const terms = new Map(recurring.map((term) => [term.merchant, term]));
  const lastInterval = new Map<string, string>();
  const lastBlameless = new Map<string, string>();

  /** Whether a live charge is the first of its calendar month or year, whatever else is wrong with it. */
  const opensInterval = ({ merchant, interval }: RecurringTerm, date: string) => {
    const started = date.slice(0, interval === 'month' ? 'YYYY-MM'.length : 'YYYY'.length);
    if (lastInterval.get(merchant) === started) return false;
    lastInterval.set(merchant, started);
    return true;
  };

  return ({ merchant, amountMinor, description, date }) => {
    const term = terms.get(merchant);
    if (term?.cancelledAt !== undefined && date > term.cancelledAt)
      return { rule: 'charge_after_cancellation', amountMinor };

    const liveTerm = term && term.since <= date ? term : undefined;
    const isExpected = liveTerm !== undefined && opensInterval(liveTerm, date);
    if (liveTerm && amountMinor > liveTerm.amountMinor)
      return { rule: 'recurring_overcharge', amountMinor: amountMinor - liveTerm.amountMinor };

    // Only charges in no finding get here to be remembered: of three in a row the third is held against the first.
    const likeness = JSON.stringify([merchant, amountMinor, description]);
    const earlier = lastBlameless.get(likeness);
    if (!isExpected && earlier !== undefined && daysBetween(earlier, date) <= 3)
      return { rule: 'duplicate_charge', amountMinor };
    lastBlameless.set(likeness, date);
    return undefined;
  };
}

function feeJudge(schedule: readonly FeeTerm[]): (fee: StatementLine) => Verdict {
  if (schedule.length === 0) return () => undefined;
  const entryOf = feeSchedule(schedule);
  return (fee) => {
    const entry = entryOf(fee);
    if (!entry) return { rule: 'unlisted_fee', amountMinor: fee.amountMinor };
    const over = fee.amountMinor - entry.maxMinor;
    return over > 0 ? { rule: 'fee_over_schedule', amountMinor: over } : undefined;
  };
}

function missingRefunds(statement: Statement): Finding[] {
  return brokenPromises(statement).map(({ promise, uncoveredMinor }) => ({
    rule: 'missing_refund',
    amountMinor: uncoveredMinor,
    currency: statement.currency,
    date: promise.dueBy,
    merchant: promise.merchant,
    lineIds: [],
  }));
}

/** Held against the bank that keeps the account. */
function arithmeticError(statement: Statement): Finding[] {
  const { accountId, currency, period } = statement;
  const gap = balanceGapMinor(statement);
  if (gap === 0) return [];
  const merchant = `Bank of ${accountId}`;
  return [{ rule: 'arithmetic_error', amountMinor: Math.abs(gap), currency, date: period.to, merchant, lineIds: [] }];
}
