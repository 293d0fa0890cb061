/**
 * What chance decides in one run. Every drawing has a name, and the same seed and name give the same number whatever else
 * is drawn: a fault that is taken away changes no drawing that is not its consequence, so that a failure can be shrunk.
 */
export class Choices {
  readonly #seed: number;
  /** The last point, of which many things are asked. */
  #point = { name: '', hash: { low: 0, high: 0 } };
  readonly #questions = new Map<string, Hash>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** In [0, 1). */
  fraction(name: string): number {
    return fractionOf(hashOf(name, this.#seed));
  }

  /** One of several things that are drawn at a point, in [0, 1). The point's name is gone through once for all of them. */
  fractionAt(question: string, point: string): number {
    if (this.#point.name !== point) this.#point = { name: point, hash: hashOf(point, this.#seed) };
    const asked = this.#questions.get(question) ?? hashOf(question, this.#seed);
    this.#questions.set(question, asked);
    const { low, high } = this.#point.hash;
    return fractionOf({
      low: Math.imul(low ^ asked.low, 0x9e3779b1) ^ asked.high,
      high: Math.imul(high ^ asked.high, 0x5f356495) ^ asked.low,
    });
  }

  /** A whole number, both bounds included. */
  whole(name: string, least: number, most: number): number {
    return least + Math.floor(this.fraction(name) * (most - least + 1));
  }

  chance(name: string, probability: number): boolean {
    return probability > 0 && this.fraction(name) < probability;
  }

  pick<T>(name: string, among: readonly T[]): T {
    return among[Math.floor(this.fraction(name) * among.length)]!;
  }
}

interface Hash {
  readonly low: number;
  readonly high: number;
}

/** Two multiplicative hashes of a text, side by side. Not for secrets. */
function hashOf(text: string, seed: number): Hash {
  let low = 0xdeadbeef ^ seed;
  let high = 0x41c6ce57 ^ Math.imul(seed, 0x9e3779b1);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    low = Math.imul(low ^ code, 0x9e3779b1);
    high = Math.imul(high ^ code, 0x5f356495);
  }
  return { low, high };
}

/** 53 bits of them, mixed into each other. */
function fractionOf({ low, high }: Hash): number {
  const one = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  const other = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(one ^ (one >>> 13), 0xc2b2ae35);
  return (2 ** 32 * (2_097_151 & other) + (one >>> 0)) / 2 ** 53;
}
