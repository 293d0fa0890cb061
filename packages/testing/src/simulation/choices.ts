/**
 * What chance decides in one run. Every drawing has a name, and the same seed and name give the same number whatever else
 * is drawn: a fault that is taken away changes no drawing that is not its consequence, so that a failure can be shrunk.
 */
export class Choices {
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** In [0, 1). */
  fraction(name: string): number {
    return mixed(name, this.#seed) / 2 ** 53;
  }

  chance(name: string, probability: number): boolean {
    return probability > 0 && this.fraction(name) < probability;
  }

  /** A whole number, both bounds included. */
  whole(name: string, least: number, most: number): number {
    return least + Math.floor(this.fraction(name) * (most - least + 1));
  }

  pick<T>(name: string, among: readonly T[]): T {
    return among[Math.floor(this.fraction(name) * among.length)]!;
  }
}

/** 53 bits of a text: two multiplicative hashes side by side, mixed into each other at the end. Not for secrets. */
function mixed(text: string, seed: number): number {
  let low = 0xdeadbeef ^ seed;
  let high = 0x41c6ce57 ^ Math.imul(seed, 0x9e3779b1);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    low = Math.imul(low ^ code, 0x9e3779b1);
    high = Math.imul(high ^ code, 0x5f356495);
  }
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  return 2 ** 32 * (2_097_151 & high) + (low >>> 0);
}
