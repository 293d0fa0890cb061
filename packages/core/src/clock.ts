/** Where time comes from. Passed in everywhere, so that a simulator can own it. */
export interface Clock {
  /** Epoch milliseconds. Set by hand or by the network, it jumps, also back: for dates and deadlines, not for durations. */
  now(): number;
  /** Milliseconds since a moment of no meaning. Never jumps. */
  steady(): number;
  /** Calls back once, at or after a time; returns what cancels it. Times beyond 24 days are waited for in stretches. */
  at(time: number, callback: () => void): () => void;
  /** Calls back once, when so many milliseconds have passed, whatever date it is then; returns what cancels it. */
  after(durationMs: number, callback: () => void): () => void;
}

const longestStretchMs = 2 ** 30;

export const systemClock: Clock = {
  now: Date.now,
  steady: () => performance.now(),
  at: (time, callback) => waitUntil(time, Date.now, callback),
  after: (durationMs, callback) => waitUntil(performance.now() + durationMs, () => performance.now(), callback),
};

function waitUntil(time: number, now: () => number, callback: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = () => {
    const left = time - now();
    timer = left > longestStretchMs ? setTimeout(wait, longestStretchMs) : setTimeout(callback, Math.max(0, left));
  };
  wait();
  return () => clearTimeout(timer);
}

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
