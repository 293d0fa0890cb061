import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding, Rule } from '../statement/findings.ts';
import type {
  FeeTerm,
  LineKind,
  RecurringTerm,
  RefundPromise,
  Statement,
  StatementLine,
} from '../statement/statement.ts';

/**
 * The sample of 5,000 lines. What is wrong on it is planted, and what is expected of it is what was planted, with no
 * help from the rules. `node apps/casework/samples/generate.ts` writes both files.
 */
export function generateLedger(): { statement: Statement; expected: Finding[] } {
  const currency = 'EUR';
  const accountId = 'ledger-5000';
  const booked: { line: StatementLine; finding?: Finding }[] = [];
  const recurring: RecurringTerm[] = [];
  const refundsPromised: RefundPromise[] = [];
  const missing: Finding[] = [];

  const book = (
    date: string,
    [merchant, description, amountMinor, kind = 'charge']: [string, string, number, LineKind?],
    wrong?: [rule: Rule, amountMinor: number],
  ) => {
    const line = { id: `L${booked.length}`, date, merchant, description, amountMinor, kind };
    const finding = wrong && { rule: wrong[0], amountMinor: wrong[1], currency, date, merchant, lineIds: [line.id] };
    booked.push(finding ? { line, finding } : { line });
  };

  const fees: FeeTerm[] = [
    { name: 'account fee', maxMinor: 500 },
    { name: 'wire', maxMinor: 1500 },
    { name: 'wire abroad', maxMinor: 2500 },
  ];
  for (let month = 1; month <= 12; month += 1) {
    book(inMonth(month, 28), ['Halden Works', 'Salary', 400_000, 'payment']);
    book(inMonth(month, 5), ['Northline Bank', 'Account fee', 500, 'fee']);
    book(inMonth(month, 6), ['Northline Bank', 'Wire abroad', 2400, 'fee']);
    book(inMonth(month, 7), ['Northline Bank', 'Desk service', 200, 'fee'], ['unlisted_fee', 200]);
    book(inMonth(month, 8), ['Northline Bank', 'Wire', 1500 + month, 'fee'], ['fee_over_schedule', month]);
    book(inMonth(month, 9), ['Northline Bank', 'Wire', 1500 - month, 'fee']);

    book(inMonth(month, 2), ['Plain Plan', 'Plan', 999]);
    book(inMonth(month, 3), ['Rising Plan', 'Plan', 999 + month], ['recurring_overcharge', month]);
    book(inMonth(month, 4), ['Twice Plan', 'Plan', 999]);
    book(inMonth(month, 5), ['Twice Plan', 'Plan', 999], ['duplicate_charge', 999]);
    book(inMonth(month, 6), ['Ended Plan', 'Plan', 999], month > 9 ? ['charge_after_cancellation', 999] : undefined);
    // Due on the last day of January and the first of February: a day apart, and each the first of its month.
    book(inMonth(month, month % 2 === 1 ? 0 : 1), ['Month-end Plan', 'Plan', 999]);
  }
  for (const merchant of ['Plain Plan', 'Rising Plan', 'Twice Plan', 'Month-end Plan'])
    recurring.push({ merchant, amountMinor: 999, interval: 'month', since: '2024-01-01' });
  recurring.push({
    merchant: 'Ended Plan',
    amountMinor: 999,
    interval: 'month',
    since: '2024-01-01',
    cancelledAt: '2024-09-30',
  });

  for (let order = 0; order < 200; order += 1) {
    const start = (order * 7) % 350;
    const item: [string, string, number] = [`Shop ${order % 40}`, `Order ${order}`, 1000 + order];
    const twice: [Rule, number] = ['duplicate_charge', 1000 + order];
    book(day(start), item);
    book(day(start + 3), item, twice);
    // Four days after the first, and the second, being wrong, does not count; two days after this one, another.
    book(day(start + 4), item);
    book(day(start + 6), item, twice);
    book(day(start + 11), item);
  }

  for (let outlet = 0; outlet < 40; outlet += 1) {
    const merchant = `Outlet ${outlet}`;
    const promise = { merchant, amountMinor: 5000 + outlet, promisedAt: day(outlet), dueBy: day(outlet + 20) };
    refundsPromised.push(promise);
    const refund = (date: string, amountMinor: number) => book(date, [merchant, 'Refund', amountMinor, 'refund']);
    const miss = (amountMinor: number) =>
      missing.push({ rule: 'missing_refund', amountMinor, currency, date: promise.dueBy, merchant, lineIds: [] });
    if (outlet % 4 === 0) {
      refund(promise.promisedAt, 2000);
      refund(promise.dueBy, 3000 + outlet);
    } else if (outlet % 4 === 1) {
      refund(day(outlet + 21), 5000 + outlet);
      miss(5000 + outlet);
    } else if (outlet % 4 === 2) {
      refund(day(outlet + 5), 4000);
      miss(1000 + outlet);
    } else {
      miss(5000 + outlet);
    }
  }

  for (let receipt = 0; booked.length < 5000; receipt += 1)
    book(day((receipt * 11) % 366), [`Market ${receipt % 90}`, `Receipt ${receipt}`, 100 + (receipt % 9000)]);

  // 2,111 and 5,000 share no factor: every line once, in no order of dates.
  const shuffled = booked.map((_, position) => booked[(position * 2111) % booked.length]!);
  const lines = shuffled.map(({ line }) => line);
  const signs = { charge: -1, fee: -1, refund: 1, payment: 1 };
  const balance = lines.reduce((sum, { kind, amountMinor }) => sum + signs[kind] * amountMinor, 1_000_000);
  const period = { from: '2024-01-01', to: '2024-12-31' };
  const wrongLines = shuffled.flatMap(({ finding }) => finding ?? []).sort((a, b) => a.date.localeCompare(b.date));
  return {
    statement: {
      accountId,
      holder: 'Grace Abara',
      currency,
      period,
      openingMinor: 1_000_000,
      closingMinor: balance + 777,
      lines,
      terms: { recurring, fees, refundsPromised },
    },
    expected: [
      ...wrongLines,
      ...missing,
      {
        rule: 'arithmetic_error',
        amountMinor: 777,
        currency,
        date: period.to,
        merchant: `Bank of ${accountId}`,
        lineIds: [],
      },
    ],
  };
}

/** The first of January 2024 is day 0. */
function day(number: number): string {
  return new Date(Date.UTC(2024, 0, 1 + number)).toISOString().slice(0, 10);
}

/** Day 0 stands for the last of the month. */
function inMonth(month: number, dayOfMonth: number): string {
  const date = dayOfMonth === 0 ? Date.UTC(2024, month, 0) : Date.UTC(2024, month - 1, dayOfMonth);
  return new Date(date).toISOString().slice(0, 10);
}

if (import.meta.main) {
  const { statement, expected } = generateLedger();
  const { lines, ...head } = statement;
  const rows = (list: readonly unknown[]) => `[\n${list.map((item) => JSON.stringify(item)).join(',\n')}\n]`;
  const write = (name: string, text: string) => writeFileSync(join(import.meta.dirname, name), `${text}\n`);
  write('ledger.json', `${JSON.stringify(head).slice(0, -1)},"lines":${rows(lines)}}`);
  write('ledger.expected.json', rows(expected));
}
