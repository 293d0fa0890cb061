import { sha256 } from '@dormouse/core';
import type { OutsideCalls } from './outside-calls.ts';

/**
 * A `fetch` that leaves the process for nowhere: each call is a call to the outside, and `answer` says what is answered.
 * Its repeat is told by the header Idempotency-Key.
 */
export function simulatedFetch(outside: OutsideCalls, answer: (request: Request) => Promise<Response>): typeof fetch {
  return async (input, init) => {
    const { signal, ...others } = init ?? {};
    const request = new Request(input, others);
    const { host, pathname } = new URL(request.url);
    const body = await request.clone().text();
    const call = {
      key: request.headers.get('idempotency-key') ?? undefined,
      content: sha256([request.method, request.url, body].join('\n')),
      signal: signal ?? (input instanceof Request ? input.signal : undefined),
      refusal: () => new Response('simulated: out of order', { status: 503 }),
    };
    try {
      return await outside.call(`${host}${pathname}`, call, () => answer(request));
    } catch (cause) {
      if (call.signal?.aborted) throw cause;
      // As the real one: the code is in the cause.
      throw new TypeError('fetch failed', { cause });
    }
  };
}
