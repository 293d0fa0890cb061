/** Time as the broker needs it. */
export interface BrokerClock {
  /** Epoch milliseconds. May jump, also back. */
  now(): number;
  /** Milliseconds since a moment of no meaning. Never jumps. */
  steady(): number;
  after(durationMs: number, callback: () => void): () => void;
}
