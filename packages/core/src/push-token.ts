/** What the claims of a token must tell, whoever checked its signature. */
export interface PushClaims {
  readonly email?: unknown;
  readonly email_verified?: unknown;
  /** Epoch seconds. */
  readonly exp?: number | undefined;
}

/**
 * Whether the bearer of a push is who may push. A token found good is remembered until it expires: thousands of pushes carry the same.
 * @param verify signature, audience, issuer and times. Rejects where they are not as they should be
 * @param account its email
 * @param now epoch milliseconds
 */
export function pushTokenCheck(
  verify: (token: string) => Promise<PushClaims>,
  account: string,
  now: () => number,
): (token: string | undefined) => Promise<void> {
  let good: { readonly token: string; readonly until: number } | undefined;
  return async (token) => {
    if (token === undefined) throw new Error('no bearer token');
    if (good?.token === token && good.until > now()) return;
    const { email, email_verified: isVerified, exp = 0 } = await verify(token);
    if (email !== account) throw new Error(`the token is of ${email}, not of ${account}`);
    if (isVerified !== true) throw new Error(`the token is of ${email}, and nobody has verified that`);
    good = { token, until: exp * 1000 };
  };
}
