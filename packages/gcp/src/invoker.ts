import { type Clock, type PushClaims, pushTokenCheck } from '@dormouse/core';
import { googleIssuers } from './identity.ts';

/**
 * Who is let in to a service. `anyone`: Cloud Run asks nobody, and the service verifies tokens itself. `caller`: Cloud Run lets in the
 * caller's token alone, and hands it over without its signature.
 * Source: cloud.google.com/run/docs/troubleshooting#signature-removed.
 */
export type Invoker = 'anyone' | 'caller';

const removedSignature = '.SIGNATURE_REMOVED_BY_GOOGLE';
const toleranceSeconds = 60;

interface Claims extends PushClaims {
  readonly iss?: unknown;
  readonly aud?: unknown;
}

/**
 * The check of a token where Cloud Run has checked it before: its claims, but not the signature that is not there any more. One
 * that has a signature is checked by it.
 *
 * Only for a service that nobody else may invoke: whoever reaches it past Cloud Run can claim whatever he likes.
 */
export function afterCloudRun(
  check: (token: string | undefined) => Promise<void>,
  {
    audience,
    serviceAccount,
    clock,
  }: { readonly audience: string; readonly serviceAccount: string; readonly clock: Clock },
): (token: string | undefined) => Promise<void> {
  const claimed = async (token: string) => {
    const { iss, aud, ...claims } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Claims;
    if (!googleIssuers.includes(String(iss))) throw new Error(`the token is of the issuer "${iss}", not Google's`);
    if (aud !== audience) throw new Error(`the token is for "${aud}", not for ${audience}`);
    if ((claims.exp ?? 0) + toleranceSeconds < clock.now() / 1000) throw new Error('the token has expired');
    return claims;
  };
  const checkClaims = pushTokenCheck(claimed, serviceAccount, clock.now);
  return (token) => (token?.endsWith(removedSignature) ? checkClaims(token) : check(token));
}
