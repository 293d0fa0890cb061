import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createLocalJWKSet, importJWK, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose';
import type { DataDirectory } from './data-directory.ts';

/** Source: cloud.google.com/pubsub/docs/authenticate-push-subscriptions (claims, an hour's life). */
const issuer = 'https://accounts.google.com';
const lifeSeconds = 3600;
const renewBeforeSeconds = 600;

export const pushServiceAccount = 'push@dormouse.local';

/** Both in seconds, as its claims. One issued in the future is of before the clock went back. */
interface Token {
  readonly header: string;
  readonly issuedAt: number;
  readonly renewAt: number;
}

/** Signs pushes as Google does; the public half goes to the instances. */
export class PushSigner {
  readonly #key: CryptoKey;
  readonly #keyId: string;
  readonly #tokens = new Map<string, Token>();
  readonly publicKeys: JSONWebKeySet;

  private constructor(key: CryptoKey, keyId: string, publicKeys: JSONWebKeySet) {
    this.#key = key;
    this.#keyId = keyId;
    this.publicKeys = publicKeys;
  }

  /** The key of a data directory, made at first use. Mode 0600. */
  static async open(directory: DataDirectory): Promise<PushSigner> {
    const jwk = JSON.parse(directory.keep('push-key.json', newKey));
    const key = (await importJWK(jwk, 'RS256')) as CryptoKey;
    const { kty, n, e, alg, kid } = jwk;
    return new PushSigner(key, kid, { keys: [{ kty, n, e, alg, kid }] });
  }

  /** The Authorization header of a push. Cached for most of its hour. */
  async authorize(audience: string, email: string): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const key = `${email} ${audience}`;
    const cached = this.#tokens.get(key);
    if (cached && cached.issuedAt <= now && now < cached.renewAt) return cached.header;
    const token = await new SignJWT({ email, email_verified: true, azp: email })
      .setProtectedHeader({ alg: 'RS256', kid: this.#keyId, typ: 'JWT' })
      .setIssuer(issuer)
      .setSubject(email)
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + lifeSeconds)
      .sign(this.#key);
    const header = `Bearer ${token}`;
    this.#tokens.set(key, { header, issuedAt: now, renewAt: now + lifeSeconds - renewBeforeSeconds });
    return header;
  }
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return JSON.stringify({ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', kid: randomUUID() });
}

/** Checks the token of a push. A token found good is remembered until it expires. */
export function pushVerifier(
  publicKeys: JSONWebKeySet,
  audience: string,
): (token: string | undefined) => Promise<void> {
  const keys = createLocalJWKSet(publicKeys);
  let good: { readonly token: string; readonly until: number } | undefined;
  return async (token) => {
    if (token === undefined) throw new Error('no bearer token');
    if (good?.token === token && good.until > Date.now()) return;
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ['RS256'], clockTolerance: 60 });
    if (payload.email !== pushServiceAccount)
      throw new Error(`the token is of ${payload.email}, not of ${pushServiceAccount}`);
    good = { token, until: payload.exp! * 1000 };
  };
}
