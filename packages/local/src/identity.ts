import { pushTokenCheck } from '@dormouse/core';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';

// Part of every bundle: nothing of the broker here.

/** Whom the host's pushes to its services are of. */
export const pushServiceAccount = 'push@dormouse.local';

/** What tells an instance that a push is its host's. */
export interface PushIdentity {
  readonly issuer: string;
  readonly publicKeys: JSONWebKeySet;
}

/** Checks the token of a push. */
export function pushVerifier(
  { issuer, publicKeys }: PushIdentity,
  audience: string,
): (token: string | undefined) => Promise<void> {
  const keys = createLocalJWKSet(publicKeys);
  const verify = async (token: string) => {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ['RS256'], clockTolerance: 60 });
    return payload;
  };
  return pushTokenCheck(verify, pushServiceAccount, Date.now);
}
