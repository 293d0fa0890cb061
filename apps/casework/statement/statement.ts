import { balanceGapMinor, netMinor } from './balance.ts';
import { currencyExponent } from './currency.ts';
import { Fields, shown } from './fields.ts';
import { type Problem, Problems } from './problems.ts';

/** First and last day, both included, as `YYYY-MM-DD`. */
export type Period = { readonly from: string; readonly to: string };

export const lineKinds = ['charge', 'fee', 'refund', 'payment'] as const;
export type LineKind = (typeof lineKinds)[number];

/** One booking. Every amount of a statement is in minor units of its currency; the kind says which way it went. */
export type StatementLine = {
  readonly id: string;
  readonly date: string;
  readonly merchant: string;
  /** May be empty. */
  readonly description: string;
  readonly amountMinor: number;
  readonly kind: LineKind;
};

/** A subscription the client agreed to. Live from `since` to `cancelledAt`; cancelled before it began: never live. */
export type RecurringTerm = {
  readonly merchant: string;
  readonly amountMinor: number;
  readonly interval: 'month' | 'year';
  readonly since: string;
  readonly cancelledAt?: string;
};

export type FeeTerm = { readonly name: string; readonly maxMinor: number };

export type RefundPromise = {
  readonly merchant: string;
  readonly amountMinor: number;
  readonly promisedAt: string;
  readonly dueBy: string;
};

/** What was agreed, and the lines are held against. */
export type Terms = {
  readonly recurring?: readonly RecurringTerm[];
  readonly fees?: readonly FeeTerm[];
  readonly refundsPromised?: readonly RefundPromise[];
};

/**
 * A bank or card statement that was checked: ids are unique, dates real and inside the period, a merchant has one
 * recurring term at most, and whatever of it is added up stays below 2^53.
 */
export type Statement = {
  readonly accountId: string;
  readonly holder: string;
  readonly currency: string;
  readonly period: Period;
  /** Given together with `closingMinor` or not at all. */
  readonly openingMinor?: number;
  readonly closingMinor?: number;
  readonly lines: readonly StatementLine[];
  readonly terms?: Terms;
};

export type StatementResult = { readonly statement: Statement } | { readonly problems: Problem[] };

/** Checks a statement that came from outside and lists all that is wrong with it. Fields it does not know are dropped. */
export function parseStatement(value: unknown): StatementResult {
  const problems = new Problems();
  const statement = checkStatement(value, problems);
  return statement && !problems.found ? { statement } : { problems: problems.list() };
}

/**
 * The same for a statement that is part of something larger: its problems are added to the caller's.
 * The result may be used only where no problem was found: until then it holds stand-ins.
 */
export function checkStatement(
  value: unknown,
  problems: Problems,
  { path = '', linePath }: { path?: string; linePath?: (index: number) => string } = {},
): Statement | undefined {
  const fields = Fields.of(value, path, problems, 'statement');
  if (!fields) return undefined;
  const period = readPeriod(fields);
  const statement: Statement = {
    accountId: fields.text('accountId'),
    holder: fields.text('holder'),
    currency: readCurrency(fields),
    period,
    ...readBalances(fields),
    lines: readLines(fields, period, linePath),
    ...(fields.has('terms') ? { terms: readTerms(fields.object('terms')) } : {}),
  };
  checkSums(statement, fields);
  return statement;
}

/** The `period` of a statement, or of a request for one. */
export function readPeriod(fields: Fields): Period {
  const period = fields.object('period');
  const from = period?.date('from') ?? '';
  const to = period?.date('to') ?? '';
  if (from && to && from <= to) return { from, to };
  if (from && to) period?.refuse('to', `must not be before period.from (${from}), got ${shown(to)}`);
  return { from: '', to: '' };
}

function readCurrency(fields: Fields): string {
  const currency = fields.text('currency');
  if (currency && currencyExponent(currency) === undefined)
    fields.refuse('currency', `must be an ISO 4217 code with a minor unit, such as "EUR", got ${shown(currency)}`);
  return currency;
}

function readBalances(fields: Fields): Pick<Statement, 'openingMinor' | 'closingMinor'> {
  const names = (['openingMinor', 'closingMinor'] as const).filter((name) => fields.has(name));
  if (names.length === 1) {
    const missing = names[0] === 'openingMinor' ? 'closingMinor' : 'openingMinor';
    fields.refuse(missing, `is missing, while ${names[0]} is given: give both or neither`);
  }
  return Object.fromEntries(names.map((name) => [name, fields.integer(name)]));
}

function readLines(fields: Fields, period: Period, linePath?: (index: number) => string): StatementLine[] {
  const lines: StatementLine[] = [];
  const unique = uniqueAmong();
  for (const line of fields.objects('lines', linePath)) {
    const date = line.date('date');
    if (date && period.from && (date < period.from || date > period.to))
      line.refuse('date', `must be inside the period ${period.from} to ${period.to}, got ${shown(date)}`);
    lines.push({
      id: unique(line, 'id', 'give each line an id of its own'),
      date,
      merchant: line.text('merchant'),
      description: line.textOrEmpty('description'),
      amountMinor: line.amount('amountMinor'),
      kind: line.oneOf('kind', lineKinds) ?? 'charge',
    });
  }
  return lines;
}

function readTerms(terms: Fields | undefined): Terms {
  return {
    ...(terms?.has('recurring') ? { recurring: readRecurring(terms) } : {}),
    ...(terms?.has('fees') ? { fees: readFees(terms) } : {}),
    ...(terms?.has('refundsPromised') ? { refundsPromised: readPromises(terms) } : {}),
  };
}

function readRecurring(terms: Fields): RecurringTerm[] {
  const unique = uniqueAmong();
  return Array.from(terms.objects('recurring'), (term) => ({
    merchant: unique(term, 'merchant', 'give one recurring term per merchant'),
    amountMinor: term.amount('amountMinor'),
    interval: term.oneOf('interval', ['month', 'year']) ?? 'month',
    since: term.date('since'),
    ...(term.has('cancelledAt') ? { cancelledAt: term.date('cancelledAt') } : {}),
  }));
}

function readFees(terms: Fields): FeeTerm[] {
  return Array.from(terms.objects('fees'), (fee) => ({ name: fee.text('name'), maxMinor: fee.amount('maxMinor') }));
}

function readPromises(terms: Fields): RefundPromise[] {
  return Array.from(terms.objects('refundsPromised'), (promise) => {
    const promisedAt = promise.date('promisedAt');
    const dueBy = promise.date('dueBy');
    if (promisedAt && dueBy && promisedAt > dueBy)
      promise.refuse('dueBy', `must not be before promisedAt (${promisedAt}), got ${shown(dueBy)}`);
    return { merchant: promise.text('merchant'), amountMinor: promise.amount('amountMinor'), promisedAt, dueBy };
  });
}

/** Reads a text that must differ from all those read before it. */
function uniqueAmong(): (fields: Fields, name: string, remedy: string) => string {
  const firstAt = new Map<string, string>();
  return (fields, name, remedy) => {
    const text = fields.text(name);
    const first = firstAt.get(text);
    if (first !== undefined) fields.refuse(name, `must be unique, ${shown(text)} is also that of ${first}: ${remedy}`);
    else if (text) firstAt.set(text, fields.path);
    return text;
  };
}

/**
 * No sum of findings exceeds all lines, all promises and the gap in the balance together: where that total is below
 * 2^53, so is whatever is later added up of this statement. (Amounts of one sign can't round back below it.)
 */
function checkSums(statement: Statement, fields: Fields): void {
  const { lines, terms, openingMinor = 0 } = statement;
  const booked = lines.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const promised = (terms?.refundsPromised ?? []).reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const sums: [name: string, sum: number, what: string][] = [
    ['lines', booked, 'the amounts of the lines'],
    ['terms.refundsPromised', booked + promised, 'the amounts of lines and promised refunds'],
    ['openingMinor', openingMinor + netMinor(lines), 'the opening balance and the lines'],
    [
      'closingMinor',
      booked + promised + Math.abs(balanceGapMinor(statement)),
      'lines, promises and what the balance is off',
    ],
  ];
  const tooLarge = sums.find(([, sum]) => !Number.isSafeInteger(sum));
  if (tooLarge) fields.refuse(tooLarge[0], `${tooLarge[2]} add up to 2^53 minor units or more: keep every sum below`);
}
