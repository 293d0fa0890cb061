import type { PushSigner } from './push-signer.ts';
import type { RestRequest } from './rest.ts';

const discovery = '/.well-known/openid-configuration';
/** As at www.googleapis.com: a key set, and what google-auth-library for Node takes, a PEM by the key's id. */
const certs = '/oauth2/v3/certs';
const pemCerts = '/oauth2/v1/certs';

/** Whether a request asks for what verifies the tokens of pushes: nothing in it is secret. */
export function isOpenid({ method, url }: RestRequest): boolean {
  return method === 'GET' && [discovery, certs, pemCerts].includes(pathOf(url));
}

/** Tells receivers of pushes how to verify their tokens. Source: OpenID Connect Discovery 1.0, section 4. */
export async function answerOpenid(signer: PushSigner, { url, headers }: RestRequest): Promise<unknown> {
  if (pathOf(url) === certs) return signer.publicKeys();
  if (pathOf(url) === pemCerts) return signer.publicPems();
  return {
    issuer: signer.issuer,
    jwks_uri: `http://${headers.host}${certs}`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['aud', 'azp', 'email', 'email_verified', 'exp', 'iat', 'iss', 'sub'],
  };
}

function pathOf(url: string): string {
  return url.split('?', 1)[0]!;
}
