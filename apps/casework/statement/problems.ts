/** What is wrong with an input, and where: `lines[3].amountMinor`, or `line 4` of a text file. */
export type Problem = { readonly path: string; readonly message: string };

const listedAtMost = 100;

/**
 * The problems of one input. All are counted, the first 100 listed: an input of 10 MB may have millions, and the list
 * is sent to the client and kept with the case.
 */
export class Problems {
  readonly #listed: Problem[] = [];
  #count = 0;

  get found(): boolean {
    return this.#count > 0;
  }

  add(path: string, message: string): void {
    this.#count += 1;
    if (this.#count <= listedAtMost) this.#listed.push({ path, message });
  }

  list(): Problem[] {
    const more = this.#count - this.#listed.length;
    return more > 0 ? [...this.#listed, { path: '…', message: `and ${more} more` }] : [...this.#listed];
  }
}
