import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto';
import { promisify } from 'node:util';
import type { PushConfig } from './subscription-config.ts';

/** Who Google's tokens say they are of: what receivers that are written for Google look for. */
export const googleIssuer = 'https://accounts.google.com';

/** Whose tokens are where a subscription names nobody. */
const defaultAccount = 'push@dormouse.local';

/** Source: cloud.google.com/pubsub/docs/authenticate-push-subscriptions (claims, an hour's life). */
const lifeSeconds = 3600;
const renewBeforeSeconds = 600;

export interface PushSignerOptions {
  /** A private RSA key as a JWK in JSON, with `kid`; `newPushKey` makes one. Asked for once, when it is needed. */
  readonly key: () => Promise<string>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** The tokens' `iss`. Default Google's. */
  readonly issuer?: string | undefined;
}

/** Both in seconds, as its claims. One issued in the future is of before the clock went back. */
interface Token {
  readonly header: Promise<string>;
  readonly issuedAt: number;
  readonly renewAt: number;
}

/** Of RSA: what may be told. */
interface PublicKey {
  readonly kty: string;
  readonly n: string;
  readonly e: string;
  readonly kid: string;
  readonly alg: 'RS256';
  readonly use: 'sig';
}

interface Key {
  readonly privateKey: KeyObject;
  readonly publicKey: PublicKey;
}

/** Signs pushes as Google does: RS256, with its claims. */
export class PushSigner {
  readonly issuer: string;
  readonly #options: PushSignerOptions;
  readonly #tokens = new Map<string, Token>();
  #key: Promise<Key> | undefined;

  constructor(options: PushSignerOptions) {
    this.#options = options;
    this.issuer = options.issuer ?? googleIssuer;
  }

  /** What to verify the tokens with: a JSON Web Key Set. */
  async publicKeys(): Promise<{ readonly keys: PublicKey[] }> {
    return { keys: [(await this.#open()).publicKey] };
  }

  /** The same as PEM, by the key's id. */
  async publicPems(): Promise<Record<string, string>> {
    const { privateKey, publicKey } = await this.#open();
    const pem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
    return { [publicKey.kid]: String(pem) };
  }

  /** The Authorization header of a push. Cached for most of its hour. */
  authorize(oidcToken: NonNullable<PushConfig['oidcToken']>, endpoint: string): Promise<string> {
    const audience = oidcToken.audience || endpoint;
    const email = oidcToken.serviceAccountEmail || defaultAccount;
    const now = Math.floor(this.#options.now() / 1000);
    const name = `${email} ${audience}`;
    const cached = this.#tokens.get(name);
    if (cached && cached.issuedAt <= now && now < cached.renewAt) return cached.header;
    for (const [each, { renewAt }] of this.#tokens) if (renewAt <= now) this.#tokens.delete(each);
    const header = this.#sign(audience, email, now).then((token) => `Bearer ${token}`);
    this.#tokens.set(name, { header, issuedAt: now, renewAt: now + lifeSeconds - renewBeforeSeconds });
    header.catch(() => this.#tokens.delete(name));
    return header;
  }

  async #sign(audience: string, email: string, now: number): Promise<string> {
    const { privateKey, publicKey } = await this.#open();
    const account = accountId(email);
    const header = { alg: 'RS256', kid: publicKey.kid, typ: 'JWT' };
    const claims = {
      aud: audience,
      azp: account,
      email,
      email_verified: true,
      exp: now + lifeSeconds,
      iat: now,
      iss: this.issuer,
      sub: account,
    };
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    const signature = await promisify(sign)('RSA-SHA256', Buffer.from(text), privateKey);
    return `${text}.${signature.toString('base64url')}`;
  }

  #open(): Promise<Key> {
    this.#key ??= this.#options.key().then((text) => {
      const jwk = JSON.parse(text);
      const { kty, n, e, kid } = jwk;
      return {
        privateKey: createPrivateKey({ key: jwk, format: 'jwk' }),
        publicKey: { kty, n, e, kid, alg: 'RS256', use: 'sig' },
      };
    });
    this.#key.catch(() => {
      this.#key = undefined;
    });
    return this.#key;
  }
}

/** A private key for a `PushSigner`. Not in one piece of time of the event loop: it takes tens to hundreds of milliseconds. */
export async function newPushKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return JSON.stringify({ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', kid: randomUUID() });
}

/** Google's accounts have a number of 21 digits, which stays theirs. */
function accountId(email: string): string {
  const hash = createHash('sha256').update(email).digest('hex').slice(0, 16);
  return `1${BigInt(`0x${hash}`).toString().padStart(20, '0')}`;
}
