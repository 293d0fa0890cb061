/** A request as a server has it. */
export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** What happens to a request instead of its answer. */
export type Mishap =
  /** Nothing is done, and this is answered. `body` is JSON; default an error of Google's with that status. */
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  /** The connection breaks, and nothing was done. */
  | 'dropped'
  /** It is done, and the connection breaks. */
  | 'answer lost';

export interface Fault {
  /** Which requests it strikes. Default: any. */
  readonly on?: (request: SeenRequest) => boolean;
  /** How many of them. Default 1; `Infinity` until it is taken back. */
  readonly times?: number;
  /** Default: it is only late. */
  readonly mishap?: Mishap;
  /** How long nothing happens before. Default 0. */
  readonly delayMs?: number;
}

/** A fault that was ordered. */
export interface OrderedFault {
  /** How often it has struck. */
  readonly struck: number;
  /** It strikes no more. */
  takeBack(): void;
}

/** What goes wrong, in the order in which it was ordered: the first that a request meets strikes it. */
export class OrderedFaults {
  readonly #waiting = new Set<{ readonly fault: Fault; struck: number }>();

  order(fault: Fault): OrderedFault {
    const ordered = { fault, struck: 0 };
    this.#waiting.add(ordered);
    return {
      get struck() {
        return ordered.struck;
      },
      takeBack: () => this.#waiting.delete(ordered),
    };
  }

  /** The fault that strikes this request, and is used up by it. */
  strike(request: SeenRequest): Fault | undefined {
    for (const ordered of this.#waiting) {
      const { on = () => true, times = 1 } = ordered.fault;
      if (!on(request)) continue;
      if (++ordered.struck >= times) this.#waiting.delete(ordered);
      return ordered.fault;
    }
    return undefined;
  }
}
