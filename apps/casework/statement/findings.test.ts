import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { generateLedger } from '../samples/generate.ts';
import { type Finding, findWrongCharges } from './findings.ts';
import { readStatement } from './read-statement.ts';
import { parseStatement, type Statement, type StatementLine } from './statement.ts';

const samples = join(import.meta.dirname, '../samples');
const sampleFiles = readdirSync(samples).filter((name) => /^(?!sample-case)[^.]+\.(json|csv)$/.test(name));

function readSample(fileName: string): Statement {
  const result = readStatement(readFileSync(join(samples, fileName), 'utf8'), { fileName });
  if ('problems' in result) throw new Error(`${fileName}: ${JSON.stringify(result.problems)}`);
  return result.statement;
}

describe('samples', () => {
  test.each(sampleFiles)('%s has the wrong charges expected of it', (fileName) => {
    const expected = readFileSync(join(samples, fileName.replace(/\.\w+$/, '.expected.json')), 'utf8');
    expect(findWrongCharges(readSample(fileName))).toEqual(JSON.parse(expected));
  });

  test('every account has one sample', () => {
    const accounts = sampleFiles.map((fileName) => readSample(fileName).accountId);
    expect(new Set(accounts).size).toBe(accounts.length);
  });

  test('the ledger of 5,000 lines is what its generator makes', () => {
    const { statement, expected } = generateLedger();
    expect(readSample('ledger.json')).toEqual(statement);
    expect(JSON.parse(readFileSync(join(samples, 'ledger.expected.json'), 'utf8'))).toEqual(expected);
  });
});

test('a hundred thousand lines, fee names and promises are judged within seconds', () => {
  const count = 100_000;
  const many = <T>(make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index));
  const kinds = ['charge', 'fee', 'refund'] as const;
  const findings = findWrongCharges({
    accountId: 'a',
    holder: 'b',
    currency: 'EUR',
    period: { from: '2025-01-01', to: '2025-12-31' },
    lines: many((index) => ({
      id: `${index}`,
      date: '2025-06-15',
      merchant: 'Shop',
      description: `Item ${index} of many`,
      amountMinor: 2,
      kind: kinds[index % 3]!,
    })),
    terms: {
      fees: many((index) => ({ name: `item ${index} of`, maxMinor: 1 })),
      refundsPromised: many(() => ({
        merchant: 'Shop',
        amountMinor: 1,
        promisedAt: '2025-01-01',
        dueBy: '2025-12-31',
      })),
    },
  });
  expect(findings.filter(({ rule }) => rule === 'fee_over_schedule')).toHaveLength(33_333);
  expect(findings.filter(({ rule }) => rule === 'missing_refund')).toHaveLength(100_000 - 2 * 33_333);
}, 10_000);

/**
 * The rules once more, from the text of the issue and by brute force: every question is asked of the whole statement
 * again, nothing is remembered.
 */
function naiveFindings({
  accountId,
  currency,
  period,
  openingMinor,
  closingMinor,
  lines,
  terms = {},
}: Statement): Finding[] {
  const { recurring = [], fees = [], refundsPromised = [] } = terms;
  const days = (date: string) => Math.round(new Date(`${date}T00:00:00Z`).getTime() / 86_400_000);
  const ordered = <T>(list: readonly T[], date: (item: T) => string) =>
    [...list.entries()].sort(([i, a], [j, b]) => days(date(a)) - days(date(b)) || i - j).map(([, item]) => item);
  const inOrder = ordered(lines, (line) => line.date);
  const before = (line: StatementLine) => inOrder.slice(0, inOrder.indexOf(line));
  const termOf = (line: StatementLine) => recurring.find((term) => term.merchant === line.merchant);
  const isCharge = (line: StatementLine) => line.kind === 'charge';

  const isAfterCancellation = (line: StatementLine) => {
    const cancelledAt = termOf(line)?.cancelledAt;
    return isCharge(line) && cancelledAt !== undefined && days(line.date) > days(cancelledAt);
  };
  const isLive = (line: StatementLine) => {
    const since = termOf(line)?.since;
    return isCharge(line) && since !== undefined && days(since) <= days(line.date) && !isAfterCancellation(line);
  };
  const overcharge = (line: StatementLine) =>
    isLive(line) ? Math.max(0, line.amountMinor - termOf(line)!.amountMinor) : 0;
  const isFirstOfInterval = (line: StatementLine) => {
    if (!isLive(line)) return false;
    const interval = ({ date }: StatementLine) =>
      termOf(line)!.interval === 'year' ? date.slice(0, 4) : date.slice(0, 7);
    return !before(line).some(
      (other) => other.merchant === line.merchant && isLive(other) && interval(other) === interval(line),
    );
  };
  const isDuplicate = (line: StatementLine): boolean => {
    if (!isCharge(line) || isFirstOfInterval(line)) return false;
    const latest = before(line).findLast(
      (other) =>
        isCharge(other) &&
        other.merchant === line.merchant &&
        other.amountMinor === line.amountMinor &&
        other.description === line.description &&
        !isAfterCancellation(other) &&
        overcharge(other) === 0 &&
        !isDuplicate(other),
    );
    return latest !== undefined && days(line.date) - days(latest.date) <= 3;
  };
  const feeEntry = (line: StatementLine) =>
    fees
      .filter(({ name }) =>
        [line.merchant, line.description].some((text) => text.toLowerCase().includes(name.toLowerCase())),
      )
      .reduce<(typeof fees)[number] | undefined>(
        (best, fee) => (best && best.name.length >= fee.name.length ? best : fee),
        undefined,
      );

  const findings: Finding[] = [];
  const find = (rule: Finding['rule'], amountMinor: number, date: string, merchant: string, lineIds: string[]) =>
    findings.push({ rule, amountMinor, currency, date, merchant, lineIds });
  for (const line of inOrder) {
    const found = (rule: Finding['rule'], amountMinor: number) =>
      find(rule, amountMinor, line.date, line.merchant, [line.id]);
    if (isAfterCancellation(line)) found('charge_after_cancellation', line.amountMinor);
    else if (overcharge(line) > 0) found('recurring_overcharge', overcharge(line));
    else if (isDuplicate(line)) found('duplicate_charge', line.amountMinor);
    else if (line.kind === 'fee' && fees.length > 0) {
      const entry = feeEntry(line);
      if (!entry) found('unlisted_fee', line.amountMinor);
      else if (line.amountMinor > entry.maxMinor) found('fee_over_schedule', line.amountMinor - entry.maxMinor);
    }
  }

  // A refund is a heap of single minor units here, each used up once.
  const coins = inOrder
    .filter(({ kind }) => kind === 'refund')
    .flatMap((refund) => Array.from({ length: refund.amountMinor }, () => ({ ...refund, isUsed: false })));
  for (const promise of ordered(refundsPromised, ({ dueBy }) => dueBy)) {
    const { merchant, dueBy, promisedAt } = promise;
    const usable = coins.filter(
      (coin) =>
        !coin.isUsed &&
        coin.merchant === merchant &&
        days(promisedAt) <= days(coin.date) &&
        days(coin.date) <= days(dueBy),
    );
    const used = usable.slice(0, promise.amountMinor);
    for (const coin of used) coin.isUsed = true;
    const isDue = days(period.from) <= days(dueBy) && days(dueBy) <= days(period.to);
    if (isDue && used.length < promise.amountMinor)
      find('missing_refund', promise.amountMinor - used.length, dueBy, merchant, []);
  }

  if (openingMinor !== undefined && closingMinor !== undefined) {
    const total = (kind: string) =>
      lines.filter((line) => line.kind === kind).reduce((sum, line) => sum + line.amountMinor, 0);
    const balance = openingMinor - total('charge') - total('fee') + total('refund') + total('payment');
    if (balance !== closingMinor)
      find('arithmetic_error', Math.abs(balance - closingMinor), period.to, `Bank of ${accountId}`, []);
  }
  return findings;
}

// Few merchants, amounts and days, around the ends of a year and of months, so that everything collides with everything.
const period = { from: '2023-12-28', to: '2024-03-03' };
const days = [
  ...['2023-12-28', '2023-12-30', '2023-12-31', '2024-01-01', '2024-01-02', '2024-01-04', '2024-01-30', '2024-01-31'],
  ...['2024-02-01', '2024-02-03', '2024-02-27', '2024-02-28', '2024-02-29', '2024-03-01', '2024-03-03'],
];
const aDay = fc.constantFrom(...days);
const anyDay = fc.constantFrom('2023-11-30', '2023-12-27', ...days, '2024-03-04', '2024-04-01');
const aMerchant = fc.constantFrom('Gym', 'Gym', 'Kiosk', 'ATM kiosk');
const anAmount = fc.integer({ min: 1, max: 3 });

const someLines = fc.array(
  fc.record({
    date: aDay,
    merchant: aMerchant,
    description: fc.constantFrom('', '', '', 'Kiosk fee', 'FEE'),
    amountMinor: anAmount,
    kind: fc.constantFrom('charge', 'charge', 'charge', 'fee', 'refund', 'payment'),
  }),
  { maxLength: 14, size: 'max' },
);

const someTerms = fc.record(
  {
    recurring: fc.uniqueArray(
      fc.record(
        {
          merchant: aMerchant,
          amountMinor: anAmount,
          interval: fc.constantFrom('month', 'month', 'year'),
          since: fc.oneof(fc.constant('2023-11-30'), anyDay),
          cancelledAt: anyDay,
        },
        { requiredKeys: ['merchant', 'amountMinor', 'interval', 'since'] },
      ),
      { selector: ({ merchant }) => merchant },
    ),
    fees: fc.array(
      fc.record({ name: fc.constantFrom('fee', 'FEE', 'atm', 'kiosk', 'Kiosk F', 'k'), maxMinor: anAmount }),
      {
        maxLength: 3,
      },
    ),
    refundsPromised: fc.array(
      fc
        .record({ merchant: aMerchant, amountMinor: fc.integer({ min: 1, max: 5 }), between: fc.tuple(anyDay, anyDay) })
        .map(({ merchant, amountMinor, between }) => {
          const [promisedAt, dueBy] = between.toSorted() as [string, string];
          return { merchant, amountMinor, promisedAt, dueBy };
        }),
      { maxLength: 5 },
    ),
  },
  { requiredKeys: [] },
);

const aStatement = fc
  .record({ lines: someLines, terms: someTerms, gap: fc.option(fc.integer({ min: -1, max: 1 }), { nil: undefined }) })
  .map(({ lines, terms, gap }) => {
    const signs = { charge: -1, fee: -1, refund: 1, payment: 1 };
    const net = lines.reduce((sum, { kind, amountMinor }) => sum + signs[kind] * amountMinor, 0);
    return {
      accountId: 'acc-1',
      holder: 'Ada',
      currency: 'EUR',
      period,
      ...(gap === undefined ? {} : { openingMinor: -2, closingMinor: -2 + net + gap }),
      lines: lines.map((line, position) => ({ id: `L${position}`, ...line })),
      terms,
    } satisfies Statement;
  });

describe('for any statement', () => {
  const holds = (law: (statement: Statement) => void, numRuns = 2000) =>
    fc.assert(fc.property(aStatement, law), { numRuns });

  test('the findings are those of the rules read naively', () => {
    const seen = new Set<string>();
    holds((statement) => {
      expect(parseStatement(statement)).toEqual({ statement });
      const findings = findWrongCharges(statement);
      expect(findings).toEqual(naiveFindings(statement));
      for (const { rule } of findings) seen.add(rule);
    }, 20_000);
    expect(seen.size).toBe(7);
  });

  test('a line is in one finding at most, and no finding claims nothing or more than its line', () => {
    holds((statement) => {
      const findings = findWrongCharges(statement);
      const disputed = findings.flatMap(({ lineIds }) => lineIds);
      expect(new Set(disputed).size).toBe(disputed.length);
      for (const { amountMinor, lineIds } of findings) {
        expect(amountMinor).toBeGreaterThan(0);
        const line = statement.lines.find(({ id }) => id === lineIds[0]);
        if (line) expect(amountMinor).toBeLessThanOrEqual(line.amountMinor);
      }
    });
  });

  test('lines sorted by date beforehand have the same findings', () => {
    holds((statement) => {
      const lines = statement.lines.toSorted((a, b) => a.date.localeCompare(b.date));
      expect(findWrongCharges({ ...statement, lines })).toEqual(findWrongCharges(statement));
    });
  });

  test('without the charges in findings, the charges left are blameless', () => {
    holds((statement) => {
      const isOfCharge = ({ rule }: Finding) =>
        rule === 'charge_after_cancellation' || rule === 'recurring_overcharge' || rule === 'duplicate_charge';
      const { lines, terms, openingMinor, closingMinor, ...head } = statement;
      const { fees, refundsPromised, ...recurring } = terms ?? {};
      const disputed = new Set(
        findWrongCharges(statement)
          .filter(isOfCharge)
          .flatMap(({ lineIds }) => lineIds),
      );
      const left = { ...head, lines: lines.filter(({ id }) => !disputed.has(id)), terms: recurring };
      expect(findWrongCharges(left)).toEqual([]);
    });
  });

  test('charges of a merchant met nowhere else leave the other findings as they are', () => {
    holds((statement) => {
      const { openingMinor, closingMinor, ...rest } = statement;
      const more = days.map((date, position) => ({
        ...{ id: `M${position}`, date, merchant: 'Elsewhere', description: `Item ${position}`, amountMinor: 1 },
        kind: 'charge' as const,
      }));
      expect(findWrongCharges({ ...rest, lines: [...more, ...rest.lines] })).toEqual(findWrongCharges(rest));
    });
  });
});
