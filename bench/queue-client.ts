/** A queue of its own for each round, so that none has to do with what an earlier one left. */
export interface QueueAt {
  /** Where its server listens on this machine. */
  readonly port: number;
  readonly name: string;
}

/** How a queue is used: the module of each exports these. The last two run in processes of their own. */
export interface QueueClient {
  /** Makes the queue. */
  prepare(at: QueueAt): Promise<void>;
  /** Publishes so many messages; resolves when the server has confirmed them all. @param ready says so, and waits for the word to begin */
  produce(at: QueueAt, messages: number, ready: () => Promise<void>): Promise<void>;
  /** Takes and acks so many messages; resolves when the last ack has gone through. @param ready the same */
  consume(at: QueueAt, messages: number, ready: () => Promise<void>): Promise<void>;
}

export const payload = Buffer.alloc(256, 'x');
