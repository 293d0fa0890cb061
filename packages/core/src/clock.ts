/** Where time comes from. Passed in everywhere, so that a simulator can own it. */
export interface Clock {
  /** Epoch milliseconds. Set by hand or by the network, it jumps, also back: for dates and deadlines, not for durations. */
  now(): number;
  /** Milliseconds since a moment of no meaning. Never jumps. */
  steady(): number;
  /** Calls back once, at or after a time, also one years ahead; returns what cancels it. A clock that is set is noticed. */
  at(time: number, callback: () => void): () => void;
  /** Calls back once, when so many milliseconds have passed, whatever date it is then; returns what cancels it. */
  after(durationMs: number, callback: () => void): () => void;
}

/**
 * The longest wait without a look at the clock. Timers of the system count no time that a laptop sleeps, and know nothing of
 * a clock that is set: what that makes due is found within a minute. Also, no timer can wait for more than 24 days.
 */
const longestStretchMs = 60_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  steady: () => performance.now(),
  at: (time, callback) => waitUntil(time, () => Date.now(), callback),
  after: (durationMs, callback) => waitUntil(performance.now() + durationMs, () => performance.now(), callback),
};

function waitUntil(time: number, now: () => number, callback: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (leftMs: number) => {
    timer = setTimeout(look, Math.min(Math.max(0, leftMs), longestStretchMs));
  };
  const look = () => {
    const leftMs = time - now();
    if (leftMs <= 0) callback();
    else wait(leftMs);
  };
  wait(time - now());
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
