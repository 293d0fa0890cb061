import type { FaultName, Faults } from './faults.ts';
import type { Life, Tasks } from './tasks.ts';
import type { Witness } from './witness.ts';

export interface OutsideCall<T> {
  /** By which whoever is called can tell a repeat. */
  readonly key?: string | undefined;
  /** What is asked for: two things under one key are a violation. */
  readonly content?: string | undefined;
  /** Whoever calls stops waiting. Without one, an answer that does not come is waited for until the step's deadline. */
  readonly signal?: AbortSignal | undefined;
  /** How a refusal looks that does nothing. Default: as if nobody could be reached. */
  readonly refusal?: () => T;
}

/** What is thrown at a caller whose connection fails, with the code that Node's own errors have. */
class ConnectionError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`simulated: ${code}`);
    this.code = code;
  }
}

/** Calls that leave the system: each is a point, and meets the faults of the outside. */
export class OutsideCalls {
  readonly #tasks: Tasks;
  readonly #faults: Faults;
  readonly #life: Life;
  readonly #witness: Witness;

  constructor(tasks: Tasks, faults: Faults, life: Life, witness: Witness) {
    this.#tasks = tasks;
    this.#faults = faults;
    this.#life = life;
    this.#witness = witness;
  }

  /**
   * Calls someone outside: what `perform` does happens there, and goes on whatever becomes of the caller. It may never be
   * done, or be done without the caller's learning of it.
   */
  async call<T>(
    to: string,
    { key, content, signal, refusal }: OutsideCall<T>,
    perform: () => T | Promise<T>,
  ): Promise<T> {
    const tasks = this.#tasks;
    const what = key === undefined ? to : `${to} ${key.slice(0, 60)}`;
    const point = await tasks.point(`calls ${what}`);
    const strikes = (name: FaultName) => this.#faults.strikes(name, point, tasks.current!.life.name);
    signal?.throwIfAborted();
    if (strikes('outside.unreached')) throw new ConnectionError('ECONNREFUSED');
    if (strikes('outside.refusing')) {
      if (refusal) return refusal();
      throw new ConnectionError('ECONNREFUSED');
    }
    if (key !== undefined) this.#witness.effects.push({ to, key, content });
    const answer = await tasks.idle(
      tasks.start(this.#life, `${point} outside`, `${what} is asked`, async () => perform()),
    );
    if (strikes('outside.silent')) await tasks.idle(aborted(signal));
    if (strikes('outside.cut-off')) throw new ConnectionError('ECONNRESET');
    await tasks.point(`hears from ${to}`);
    signal?.throwIfAborted();
    return answer;
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = () => reject(signal!.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
