import { timingSafeEqual } from 'node:crypto';
import { type Admits, BrokerError, errorAnswer, isOpenid, type RestApi } from '@dormouse/broker';

/** Lets in one of the services, which find `own` in their environment, or whoever has a token that `admits` knows. */
export function admission(own: string, admits: (token: string | undefined) => Promise<boolean>): Admits {
  return async (authorization) => {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    return (token !== undefined && equal(token, own)) || admits(token);
  };
}

/** The broker's REST for those who are let in; what verifies the tokens of pushes, for everyone. Refusals in Google's shape. */
export function guarded(restApi: RestApi, admits: Admits): RestApi {
  return async (request) => {
    if (isOpenid(request) || (await admits(request.headers.authorization?.toString()))) return restApi(request);
    const message =
      'this broker needs a token: the house’s, or DORMOUSE_BROKER_TOKEN of a service; send it as a bearer';
    return errorAnswer(new BrokerError('UNAUTHENTICATED', message));
  };
}

function equal(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}
