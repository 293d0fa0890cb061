declare module 'linebreak' {
  /** Where lines may end in a text, by UAX 14. */
  export default class LineBreaker {
    constructor(text: string);
    nextBreak(): { readonly position: number; readonly required: boolean } | null;
  }
}

declare module 'bidi-js/dist/bidi.mjs' {
  import type { Bidi } from 'bidi-js';

  /** The ES module of bidi-js, whose own types describe its CommonJS form only. */
  export default function createBidi(): Bidi;
}
