import { STATUS_CODES } from 'node:http';

/** A request that is refused: what is thrown on the way becomes the answer. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly more: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    { headers = {}, ...more }: Record<string, unknown> & { readonly headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.status = status;
    this.more = more;
    this.headers = headers;
  }
}

/**
 * Problem details. The type is about:blank, so the title is the status's own; `code` is what scripts may rely on, where
 * there is one. Source: RFC 9457.
 */
export function problem({ status, message, more, headers }: Refusal, path: string): Response {
  const title = STATUS_CODES[status];
  return Response.json(
    { type: 'about:blank', title, status, detail: message, instance: path, ...more },
    { status, headers: { ...headers, 'content-type': 'application/problem+json', 'cache-control': 'no-store' } },
  );
}
