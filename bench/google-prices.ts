/** A price of Google's list, in dollars of the United States, without discounts. */
export interface Price {
  readonly dollars: number;
  /** For so many of the unit. */
  readonly per: number;
  readonly unit: string;
  /** What costs nothing each month; a daily allowance is taken for thirty days. */
  readonly free: number;
  /** The page of Google's, or who quotes it. */
  readonly source: string;
  /** What is known of its date. `memory`: no page was found that says it; it is what its author remembers, and is to be checked. */
  readonly asOf: string;
}

const undated = 'a copy without a date, read on 2026-11-22';
const GiB = 2 ** 30;

/**
 * What Google charges in Iowa (us-central1). Nobody here has an account, and no page of Google's was read live: these are copies of
 * its pages, or others who quote them. A price is checked before anybody decides by it.
 */
export const prices = {
  firestoreReads: {
    dollars: 0.03,
    per: 100_000,
    unit: 'documents read',
    free: 30 * 50_000,
    source:
      'docs.cloud.google.com/datastore/docs/cuds, Firestore in Datastore mode in Iowa; cloud.google.com/firestore/pricing for what is free',
    asOf: '2026-04-10, by the page itself; the same is quoted of native mode on 2026-10-08. Of a multi-region twice that',
  },
  firestoreWrites: {
    dollars: 0.09,
    per: 100_000,
    unit: 'documents written',
    free: 30 * 20_000,
    source:
      'docs.cloud.google.com/datastore/docs/cuds, Firestore in Datastore mode in Iowa; cloud.google.com/firestore/pricing for what is free',
    asOf: '2026-04-10, by the page itself; the same is quoted of native mode on 2026-10-08. Of a multi-region twice that',
  },
  firestoreDeletes: {
    dollars: 0.01,
    per: 100_000,
    unit: 'documents deleted',
    free: 30 * 20_000,
    source: 'half of the price of a multi-region, cloud.google.com/firestore/pricing',
    asOf: 'memory; of a multi-region 0.02, a copy without a date',
  },
  firestoreExpired: {
    dollars: 0.01,
    per: 100_000,
    unit: 'documents deleted by expiry',
    free: 0,
    source: 'as deletes; cloud.google.com/firestore/pricing: none of them is free',
    asOf: 'memory; of a multi-region 0.02, a copy without a date',
  },
  firestoreStorage: {
    dollars: 0.15,
    per: GiB,
    unit: 'bytes of documents and indexes, a month',
    free: GiB,
    source: 'cloud.google.com/firestore/pricing',
    asOf: 'quoted by a public repository, without a date',
  },
  pubsubBytes: {
    dollars: 40,
    per: 2 ** 40,
    unit: 'bytes published and delivered',
    free: 10 * GiB,
    source: 'cloud.google.com/pubsub/pricing: each request to publish or push counts 1,000 bytes at least',
    asOf: undated,
  },
  runCpu: {
    dollars: 0.000024,
    per: 1,
    unit: 'vCPU-seconds',
    free: 180_000,
    source: 'cloud.google.com/run/pricing, first tier, request-based billing, rounded up to 100 ms',
    asOf: undated,
  },
  runMemory: {
    dollars: 0.0000025,
    per: 1,
    unit: 'GiB-seconds',
    free: 360_000,
    source: 'cloud.google.com/run/pricing, first tier, request-based billing',
    asOf: `${undated}; the price itself quoted by cloudchipr.com/blog/cloud-run-pricing, 2025`,
  },
  runRequests: {
    dollars: 0.4,
    per: 1_000_000,
    unit: 'requests',
    free: 2_000_000,
    source: 'cloud.google.com/run/pricing',
    asOf: `${undated}; the price itself quoted by cloudchipr.com/blog/cloud-run-pricing, 2025`,
  },
  tasks: {
    dollars: 0.4,
    per: 1_000_000,
    unit: 'calls and deliveries of tasks',
    free: 1_000_000,
    source: 'cloud.google.com/tasks/docs/pricing: each call and each attempt, by 32 KB',
    asOf: undated,
  },
  scheduler: {
    dollars: 0.1,
    per: 1,
    unit: 'jobs',
    free: 3,
    source: 'cloud.google.com/scheduler/pricing: 0.10 for 31 days, however often it runs; three of an account are free',
    asOf: undated,
  },
  storageWrites: {
    dollars: 0.005,
    per: 1_000,
    unit: 'operations of class A',
    free: 5_000,
    source: 'cloud.google.com/storage/pricing-examples, standard storage',
    asOf: `${undated}; free in three regions of the United States only`,
  },
  storageReads: {
    dollars: 0.0004,
    per: 1_000,
    unit: 'operations of class B',
    free: 50_000,
    source: 'cloud.google.com/storage/pricing-examples, standard storage',
    asOf: `${undated}; free in three regions of the United States only`,
  },
  storageBytes: {
    dollars: 0.02,
    per: GiB,
    unit: 'bytes of files, a month',
    free: 5 * GiB,
    source: 'cloud.google.com/storage/pricing-examples, standard storage',
    asOf: `${undated}; free in three regions of the United States only`,
  },
} as const satisfies Record<string, Price>;

export type Priced = keyof typeof prices;
/** How much of what is priced, in its own unit. */
export type Usage = Readonly<Record<Priced, number>>;

/** Dollars for so much of it in a month. */
export function dollarsFor(what: Priced, amount: number, { free }: { readonly free: boolean }): number {
  const price: Price = prices[what];
  return (Math.max(0, amount - (free ? price.free : 0)) / price.per) * price.dollars;
}
