import { timingSafeEqual } from 'node:crypto';

type Fetch = (request: Request) => Promise<Response>;

/**
 * The broker's REST for those with a token: one of the services, which find `own` in their environment, or one that
 * `admits` knows. Refusals in Google's shape.
 */
export function guarded(restApi: Fetch, own: string, admits: (token: string | undefined) => Promise<boolean>): Fetch {
  return async (request) => {
    const token = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
    if ((token !== undefined && equal(token, own)) || (await admits(token))) return restApi(request);
    const message =
      'this broker needs a token: the house’s, or DORMOUSE_BROKER_TOKEN of a service; send it as a bearer';
    return Response.json({ error: { code: 401, message, status: 'UNAUTHENTICATED' } }, { status: 401 });
  };
}

function equal(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}
