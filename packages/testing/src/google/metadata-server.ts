import type { Clock } from '@dormouse/core';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { ApiRefusal, ApiServer } from './api-server.ts';
import type { SeenRequest } from './ordered-faults.ts';

export interface MetadataServerOptions {
  readonly clock: Clock;
  /** Of the machine's service account. Default `dormouse@test.iam.gserviceaccount.com`. */
  readonly email?: string;
  /** Default `test`. */
  readonly project?: string;
}

interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: JWK;
}

const issuer = 'https://accounts.google.com';
const accessTokenSeconds = 3_600;
/** It gives out another token so long before the one it has expires. */
const renewBeforeSeconds = 300;
const keysMaxAgeSeconds = 20_000;

/**
 * What a machine of Google's asks who it is, and what those who are pushed to ask whose the tokens are: access tokens, OIDC tokens, the
 * keys that sign them. `GCE_METADATA_HOST` is its address.
 * Source: cloud.google.com/compute/docs/metadata; www.googleapis.com/oauth2/v3/certs.
 */
export class MetadataServer extends ApiServer {
  readonly email: string;
  readonly #clock: Clock;
  readonly #project: string;
  #keys: SigningKey[] = [];
  #given = 0;
  #accessToken: { readonly token: string; readonly expiresAt: number } | undefined;
  #isRefused = new Set<string>();

  private constructor({
    clock,
    email = 'dormouse@test.iam.gserviceaccount.com',
    project = 'test',
  }: MetadataServerOptions) {
    super((request) => this.#answer(request));
    this.#clock = clock;
    this.email = email;
    this.#project = project;
  }

  static async start(options: MetadataServerOptions): Promise<MetadataServer> {
    const server = new MetadataServer(options);
    await server.rotate();
    return server.listen();
  }

  /** Whether an API takes this bearer. */
  admits(authorization: string | undefined): boolean {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
    if (token === undefined || this.#isRefused.has(token)) return false;
    return token === this.#accessToken?.token && this.#clock.steady() < this.#accessToken.expiresAt;
  }

  /** The access token that was given out is good no longer. */
  revoke(): void {
    if (this.#accessToken) this.#isRefused.add(this.#accessToken.token);
    this.#accessToken = undefined;
  }

  /** Signs with a new key from now on. The old one is told for as long as its tokens may be good, unless it is to be forgotten. */
  async rotate({ forget = false } = {}): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    const kid = `key-${this.#keys.length + 1}-${Date.now()}`;
    const known = forget ? [] : this.#keys;
    this.#keys = [
      { kid, privateKey, publicKey: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' } },
      ...known,
    ];
  }

  /** The Authorization header of a push or a task, as `PushSigner` of the broker makes it. */
  async authorize(
    { serviceAccountEmail, audience }: { readonly serviceAccountEmail: string; readonly audience?: string },
    url: string,
  ): Promise<string> {
    return `Bearer ${await this.sign({ email: serviceAccountEmail, aud: audience ?? url })}`;
  }

  /** An OIDC token with the claims of Google's, and these in their place. */
  async sign(claims: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const now = Math.floor(this.#clock.now() / 1000);
    const { kid, privateKey } = this.#keys[0]!;
    const all = {
      iss: issuer,
      aud: 'https://service.test',
      azp: '100000000000000000001',
      sub: '100000000000000000001',
      email: this.email,
      email_verified: true,
      iat: now,
      exp: now + 3600,
      ...claims,
    };
    return new SignJWT(all).setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT' }).sign(privateKey);
  }

  async #answer({ method, path, headers }: SeenRequest) {
    const { pathname, searchParams } = new URL(path, this.url);
    if (method === 'GET' && pathname === '/oauth2/v3/certs') {
      const keys = this.#keys.map(({ publicKey }) => publicKey);
      return { json: { keys }, headers: { 'cache-control': `public, max-age=${keysMaxAgeSeconds}, must-revalidate` } };
    }
    if (headers['metadata-flavor'] !== 'Google') {
      throw new ApiRefusal(403, 'PERMISSION_DENIED', 'Missing required header "Metadata-Flavor": "Google"');
    }
    const account = /^\/computeMetadata\/v1\/instance\/service-accounts\/[^/]+\/(token|identity|email)$/.exec(pathname);
    const flavor = { 'metadata-flavor': 'Google' };
    if (account?.[1] === 'token') return { json: this.#giveAccessToken(), headers: flavor };
    if (account?.[1] === 'email') return { bytes: Buffer.from(this.email), headers: flavor };
    if (account?.[1] === 'identity') {
      const audience = searchParams.get('audience');
      if (!audience) throw new ApiRefusal(400, 'INVALID_ARGUMENT', 'non-empty audience parameter required');
      return { bytes: Buffer.from(await this.sign({ aud: audience })), headers: flavor };
    }
    if (pathname === '/computeMetadata/v1/project/project-id') {
      return { bytes: Buffer.from(this.#project), headers: flavor };
    }
    throw new ApiRefusal(404, 'NOT_FOUND', `nothing at ${pathname}`);
  }

  #giveAccessToken() {
    const now = this.#clock.steady();
    if (!this.#accessToken || now > this.#accessToken.expiresAt - renewBeforeSeconds * 1000) {
      this.#accessToken = { token: `ya29.test-${++this.#given}`, expiresAt: now + accessTokenSeconds * 1000 };
    }
    const { token, expiresAt } = this.#accessToken;
    return { access_token: token, expires_in: Math.floor((expiresAt - now) / 1000), token_type: 'Bearer' };
  }
}
