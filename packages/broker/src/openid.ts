import type { PushSigner } from './push-signer.ts';

const discovery = '/.well-known/openid-configuration';
/** As at www.googleapis.com: a key set, and what google-auth-library for Node takes, a PEM by the key's id. */
const certs = '/oauth2/v3/certs';
const pemCerts = '/oauth2/v1/certs';

/** Whether a request asks for what verifies the tokens of pushes: nothing in it is secret. */
export function isOpenid({ method, url }: Request): boolean {
  return method === 'GET' && [discovery, certs, pemCerts].includes(new URL(url).pathname);
}

/** Tells receivers of pushes how to verify their tokens. Source: OpenID Connect Discovery 1.0, section 4. */
export async function answerOpenid(signer: PushSigner, { url }: Request): Promise<Response> {
  const { origin, pathname } = new URL(url);
  if (pathname === certs) return Response.json(await signer.publicKeys());
  if (pathname === pemCerts) return Response.json(await signer.publicPems());
  return Response.json({
    issuer: signer.issuer,
    jwks_uri: `${origin}${certs}`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['aud', 'azp', 'email', 'email_verified', 'exp', 'iat', 'iss', 'sub'],
  });
}
