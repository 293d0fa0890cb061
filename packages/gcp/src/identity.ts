import { type Clock, causeOf, pushTokenCheck, UncheckedTokenError } from '@dormouse/core';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { GoogleRest, TokenSource } from './google-rest.ts';

/** Where a machine of Google's asks who it is. `GCE_METADATA_HOST` names another, without a scheme. */
export const metadataUrl = 'http://metadata.google.internal';
/** What Google's tokens are of, and where their keys are. */
export const googleIssuers: readonly string[] = ['https://accounts.google.com', 'accounts.google.com'];
export const googleKeysUrl = 'https://www.googleapis.com';
const keysPath = '/oauth2/v3/certs';

/** The metadata server gives out another token four minutes before the one it has expires; until then the same. */
const renewBeforeMs = 225_000;

interface AccessToken {
  readonly token: string;
  /** By the steady clock. */
  readonly renewAt: number;
  readonly expiresAt: number;
}

/**
 * The access tokens of the machine's service account, kept until shortly before they expire.
 * Source: cloud.google.com/compute/docs/access/authenticate-workloads.
 */
export class AccessTokens {
  readonly #metadata: GoogleRest;
  readonly #clock: Clock;
  #known: AccessToken | undefined;
  #asking: Promise<AccessToken> | undefined;

  constructor(metadata: GoogleRest, clock: Clock) {
    this.#metadata = metadata;
    this.#clock = clock;
  }

  /** Another one than was refused. @throws GoogleError where the metadata server does not answer and none is left that is good */
  readonly token: TokenSource = async (refused) => {
    if (refused !== undefined && this.#known?.token === refused) this.#known = undefined;
    const now = this.#clock.steady();
    const known = this.#known;
    if (known && now < known.renewAt) return known.token;
    // One request, however many wait for it.
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    try {
      return (await this.#asking).token;
    } catch (error) {
      if (known && now < known.expiresAt) return known.token;
      throw error;
    }
  };

  async #ask(): Promise<AccessToken> {
    const askedAt = this.#clock.steady();
    const answer = await this.#metadata.json<{ access_token: string; expires_in: number }>({
      method: 'GET',
      path: '/computeMetadata/v1/instance/service-accounts/default/token',
      headers: { 'metadata-flavor': 'Google' },
    });
    const expiresAt = askedAt + answer.expires_in * 1000;
    this.#known = { token: answer.access_token, renewAt: expiresAt - renewBeforeMs, expiresAt };
    return this.#known;
  }
}

/**
 * A token that says whose this machine is, for one who asks: of the account that it runs as, good for an hour.
 * Source: cloud.google.com/run/docs/authenticating/service-to-service.
 * @param audience the address it is to be shown at
 * @throws GoogleError where this is no machine of Google's
 */
export async function identityToken(metadata: GoogleRest, audience: string): Promise<string> {
  const { bytes } = await metadata.request({
    method: 'GET',
    path: `/computeMetadata/v1/instance/service-accounts/default/identity?audience=${encodeURIComponent(audience)}`,
    headers: { 'metadata-flavor': 'Google' },
    once: true,
  });
  return bytes.toString().trim();
}

/** Unknown keys are asked for no more often: anybody can make up the name of one. */
const refetchAfterMs = 30_000;
const defaultKeptMs = 3_600_000;

/**
 * The keys that sign tokens, kept as long as their server says. A key that is not among them is looked for again: they are changed
 * every week or so. Where they cannot be had the old ones go on being good.
 */
export class TokenKeys {
  readonly #servers: readonly GoogleRest[];
  readonly #clock: Clock;
  #keys: ReturnType<typeof createLocalJWKSet> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #keptUntil = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;
  /** Why they could not be had when they were asked for last. */
  #failure: unknown;

  /** @param servers of keys, below `/oauth2/v3/certs`; with more than one, a token may be signed by any of theirs */
  constructor(servers: readonly GoogleRest[], clock: Clock) {
    this.#servers = servers;
    this.#clock = clock;
  }

  /** @throws UncheckedTokenError where the key may be one that cannot be had */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (!this.#keys || this.#clock.steady() >= this.#keptUntil) await this.load().catch(() => {});
    if (!this.#keys) throw this.#unchecked();
    try {
      return await this.#keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (this.#clock.steady() >= this.#askedAt + refetchAfterMs) await this.load().catch(() => {});
      else if (this.#failure === undefined) throw error;
      if (this.#failure !== undefined) throw this.#unchecked();
      return this.#keys(header, token);
    }
  };

  /** Asks for them now: whoever starts need not wait with it until the first push has come. */
  load(): Promise<void> {
    this.#asking ??= this.#load().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  #unchecked(): UncheckedTokenError {
    const message = `the keys that sign tokens cannot be had: ${causeOf(this.#failure)}`;
    return new UncheckedTokenError(message, { cause: this.#failure });
  }

  async #load(): Promise<void> {
    this.#askedAt = this.#clock.steady();
    // Not before a while either where they cannot be had.
    this.#keptUntil = this.#askedAt + refetchAfterMs;
    try {
      await this.#fetch();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  async #fetch(): Promise<void> {
    const answers = await Promise.all(this.#servers.map((each) => each.request({ method: 'GET', path: keysPath })));
    const sets = answers.map(({ bytes }) => JSON.parse(bytes.toString()) as JSONWebKeySet);
    this.#keys = createLocalJWKSet({ keys: sets.flatMap(({ keys }) => keys) });
    const kept = answers.map(({ headers }) => keptMs(headers['cache-control']));
    this.#keptUntil = this.#askedAt + Math.max(refetchAfterMs, Math.min(...kept));
  }
}

export interface TokenCheckOptions {
  readonly keys: TokenKeys;
  /** What the token must be for: the address of the service. */
  readonly audience: string;
  /** Email of the service account that pushes and ticks. */
  readonly serviceAccount: string;
  readonly clock: Clock;
  /** Default Google's. */
  readonly issuers?: readonly string[];
}

/** How far the clocks of two machines may be apart. */
const toleranceSeconds = 60;

/**
 * Checks the tokens that Pub/Sub, Cloud Tasks and Cloud Scheduler send along.
 * Source: cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
 */
export function tokenCheck(options: TokenCheckOptions): (token: string | undefined) => Promise<void> {
  const { keys, audience, serviceAccount, clock, issuers = googleIssuers } = options;
  const verify = async (token: string) => {
    const { payload } = await jwtVerify(token, keys.find, {
      issuer: [...issuers],
      audience,
      algorithms: ['RS256'],
      clockTolerance: toleranceSeconds,
      currentDate: new Date(clock.now()),
      requiredClaims: ['exp', 'iat'],
    });
    return payload;
  };
  return pushTokenCheck(verify, serviceAccount, clock.now);
}

function keptMs(cacheControl: string | undefined): number {
  const seconds = /max-age=(\d+)/.exec(cacheControl ?? '')?.[1];
  return seconds === undefined ? defaultKeptMs : Number(seconds) * 1000;
}
