import { dollarsFor, type Priced, prices, type Usage } from './google-prices.ts';
import { table } from './table.ts';

/** What the first seed says that its system costs a month, of the same size and idea. */
const seed = { cases: 100, dollars: 1.4, alwaysOnDollars: 210 };
/** Of what a month bills, whatever happens: the sweep every five minutes. */
export const sweepsAMonth = 30 * 24 * 12;

const products: Readonly<Record<string, readonly Priced[]>> = {
  Firestore: ['firestoreReads', 'firestoreWrites', 'firestoreDeletes', 'firestoreExpired', 'firestoreStorage'],
  'Pub/Sub': ['pubsubBytes'],
  'Cloud Run': ['runCpu', 'runMemory', 'runRequests'],
  'Cloud Tasks': ['tasks'],
  'Cloud Scheduler': ['scheduler'],
  'Cloud Storage': ['storageWrites', 'storageReads', 'storageBytes'],
};

export interface Bill {
  /** Dollars a month of each product; all of it, and beyond what is free. */
  readonly lines: Readonly<Record<string, { readonly all: number; readonly beyondFree: number }>>;
  readonly all: number;
  readonly beyondFree: number;
}

export interface BilledUsage {
  /** Of one case, from its opening to its end. */
  readonly aCase: Usage;
  /** Of one sweep that finds nothing to do. */
  readonly aSweep: Usage;
}

/** Of a month with so many cases and its sweeps. Storage is what those cases leave, kept for that month. */
export function billOf({ aCase, aSweep }: BilledUsage, cases: number): Bill {
  const used = (what: Priced) => cases * aCase[what] + sweepsAMonth * aSweep[what] + (what === 'scheduler' ? 1 : 0);
  const sum = (whats: readonly Priced[], free: boolean) =>
    whats.reduce((dollars, what) => dollars + dollarsFor(what, used(what), { free }), 0);
  const lines = Object.fromEntries(
    Object.entries(products).map(([product, whats]) => [
      product,
      { all: sum(whats, false), beyondFree: sum(whats, true) },
    ]),
  );
  const total = (of: keyof Bill['lines'][string]) =>
    Object.values(lines).reduce((dollars, line) => dollars + line[of], 0);
  return { lines, all: total('all'), beyondFree: total('beyondFree') };
}

/** The bill of a hundred cases, beside that of none and the seed's. */
export function billTable(usage: BilledUsage): string {
  const [bill, idle] = [billOf(usage, seed.cases), billOf(usage, 0)];
  const money = (dollars: number) => `$${dollars.toFixed(3)}`;
  const rows = Object.entries(bill.lines).map(([product, { all, beyondFree }]) => {
    const asleep = idle.lines[product]!.all;
    return [product, money(all - asleep), money(asleep), money(all), money(beyondFree)];
  });
  const sum = ['together', money(bill.all - idle.all), money(idle.all), money(bill.all), money(bill.beyondFree)];
  return table(
    `What ${seed.cases} cases a month cost on Google Cloud, by its list prices`,
    [
      ['', 'the cases', 'asleep', 'together', 'beyond what is free'],
      ...rows,
      sum,
      ['the seed’s system', '', '', money(seed.dollars), ''],
      ['the seed’s, always on', '', '', money(seed.alwaysOnDollars), ''],
    ],
    [
      `asleep: what a month without a case costs, most of it the sweep every five minutes (${sweepsAMonth}).`,
      'In Iowa (us-central1); in a multi-region Firestore costs twice that. Storage is that of these cases for one month.',
      'Cloud Run by the request: the time in which an instance starts, has requests or stops, each rounded up to 100 ms, as this machine took it.',
      'Not in it: the images (Artifact Registry), logs, secrets, mail, text messages, what leaves Google’s network, models of agents.',
      `Prices with their sources in bench/google-prices.ts; from memory, without a page: ${fromMemory().join(', ')}.`,
    ],
  );
}

function fromMemory(): string[] {
  return Object.values(prices).flatMap(({ asOf, unit }) => (asOf.startsWith('memory') ? [unit] : []));
}
