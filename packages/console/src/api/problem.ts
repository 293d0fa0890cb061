/** Problem details. Source: RFC 9457. */
export function problem(status: number, detail: string, more: Record<string, unknown> = {}): Response {
  return Response.json(
    { status, detail, ...more },
    { status, headers: { 'content-type': 'application/problem+json' } },
  );
}
