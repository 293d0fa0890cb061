export interface MeasureOptions {
  /** A fifth of the work: to see that it runs, not to believe its figures. */
  readonly quick: boolean;
  /** Of those that are compared, only ours. */
  readonly own: boolean;
  readonly progress: (text: string) => void;
}

export interface Measurement {
  /** For people. */
  readonly report: string;
  /** For machines: everything the report was made from. */
  readonly figures: object;
}

export type Measure = (options: MeasureOptions) => Promise<Measurement>;
