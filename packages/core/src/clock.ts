/** Where time comes from. Passed in everywhere, so that a simulator can own it. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls back once, at or after a time; returns what cancels it. Times beyond 24 days are waited for in stretches. */
  at(time: number, callback: () => void): () => void;
}

const longestStretchMs = 2 ** 30;

export const systemClock: Clock = {
  now: Date.now,
  at(time, callback) {
    let timer: ReturnType<typeof setTimeout>;
    const wait = () => {
      const left = time - Date.now();
      timer = left > longestStretchMs ? setTimeout(wait, longestStretchMs) : setTimeout(callback, Math.max(0, left));
    };
    wait();
    return () => clearTimeout(timer);
  },
};

/** Where randomness comes from. */
export interface Random {
  /** In [0, 1). */
  fraction(): number;
  bytes(count: number): Uint8Array;
}

export const systemRandom: Random = {
  fraction: Math.random,
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};
