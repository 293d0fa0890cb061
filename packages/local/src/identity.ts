import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';

// Part of every bundle: nothing of the broker here.

/** Whom the host's pushes to its services are of. */
export const pushServiceAccount = 'push@dormouse.local';

/** What tells an instance that a push is its host's. */
export interface PushIdentity {
  readonly issuer: string;
  readonly publicKeys: JSONWebKeySet;
}

/** Checks the token of a push. A token found good is remembered until it expires. */
export function pushVerifier(
  { issuer, publicKeys }: PushIdentity,
  audience: string,
): (token: string | undefined) => Promise<void> {
  const keys = createLocalJWKSet(publicKeys);
  let good: { readonly token: string; readonly until: number } | undefined;
  return async (token) => {
    if (token === undefined) throw new Error('no bearer token');
    if (good?.token === token && good.until > Date.now()) return;
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: ['RS256'],
      clockTolerance: 60,
    });
    if (payload.email !== pushServiceAccount)
      throw new Error(`the token is of ${payload.email}, not of ${pushServiceAccount}`);
    good = { token, until: payload.exp! * 1000 };
  };
}
