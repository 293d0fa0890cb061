import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** In the data directory; PKCS#8, mode 0600. */
export const headsKeyFile = 'heads-key.pem';

export class HeadsError extends Error {
  override readonly name = 'HeadsError';
}

/** The key that exports of heads are signed with, Ed25519, made at first use. @throws HeadsError where its file holds none */
export function headsKeyOf(folder: string): KeyObject {
  const path = join(folder, headsKeyFile);
  if (!existsSync(path)) make(path);
  try {
    const key = createPrivateKey(readFileSync(path));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw noKey(path, cause);
  }
  throw noKey(path);
}

/** As it is handed on: the 32 bytes of a public key (RFC 8032) in base64url. */
export function publicKeyText(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'jwk' }).x!;
}

/** @throws HeadsError */
export function publicKeyFrom(text: string): KeyObject {
  if (!/^[\w-]{43}$/.test(text)) {
    throw new HeadsError(`"${text}" is no public key; it is 43 letters, as \`dormouse heads key\` prints them`);
  }
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: text }, format: 'jwk' });
}

/** Whole, or not at all; of two that make one at once, both use the first's. */
function make(path: string): void {
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  const beside = `${path}.${randomUUID()}`;
  try {
    writeFileSync(beside, pem, { mode: 0o600, flush: true });
    linkSync(beside, path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new HeadsError(`${path} cannot be written (${message})`, { cause: error });
  } finally {
    rmSync(beside, { force: true });
  }
}

function noKey(path: string, cause?: unknown): HeadsError {
  const remedy =
    'put it back from where you keep it, or remove it and a new one is made; earlier exports keep its old key';
  return new HeadsError(`${path} holds no Ed25519 key; ${remedy}`, { cause });
}
