// Real: tokens signed with RSA, keys and access tokens over HTTP, as `MetadataServer` serves them.
import { generateKeyPairSync } from 'node:crypto';
import { admission, type Clock, systemClock, systemRandom } from '@dormouse/core';
import { AccessTokens, GoogleRest, TokenKeys, tokenCheck } from '@dormouse/gcp';
import { SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { MetadataServer } from './google/metadata-server.ts';
import { SetClock } from './set-clock.ts';

const audience = 'https://intake-abc.a.run.app';
const minute = 60_000;
const hour = 60 * minute;

async function open({ aheadMs = 0 } = {}) {
  const clock = new SetClock();
  const metadata = await MetadataServer.start({ clock });
  const rest = new GoogleRest({ url: metadata.url, clock: systemClock, random: systemRandom });
  const keys = new TokenKeys([rest], clock);
  const itsClock: Clock = { ...clock, now: () => clock.now() + aheadMs };
  const check = tokenCheck({ keys, audience, serviceAccount: metadata.email, clock: itsClock });
  return {
    clock,
    metadata,
    keys,
    check,
    sign: (claims = {}) => metadata.sign({ aud: audience, ...claims }),
    tokens: new AccessTokens(rest, clock),
    asked: (what: string) => metadata.requests.filter((each) => each.endsWith(what)).length,
    async [Symbol.asyncDispose]() {
      rest.close();
      await metadata[Symbol.asyncDispose]();
    },
  };
}

const nowSeconds = (clock: Clock) => Math.floor(clock.now() / 1000);

test('a token of the service account, for this service, of Google and of now is good', async () => {
  await using google = await open();
  await google.check(await google.sign());
  await google.check(await google.sign({ iss: 'accounts.google.com' }));
});

test('any other is refused, and told why', async () => {
  await using google = await open();
  const { check, sign, clock, metadata } = google;
  const now = nowSeconds(clock);
  await expect(check(undefined)).rejects.toThrow('no bearer token');
  await expect(check('nonsense')).rejects.toThrow();
  await expect(check(await sign({ aud: 'https://other.a.run.app' }))).rejects.toThrow('"aud"');
  await expect(check(await sign({ iss: 'https://accounts.evil.test' }))).rejects.toThrow('"iss"');
  await expect(check(await sign({ exp: now - 61 }))).rejects.toThrow('"exp"');
  await expect(check(await sign({ exp: undefined }))).rejects.toThrow('"exp"');
  await expect(check(await sign({ email: 'mallory@other.iam.gserviceaccount.com' }))).rejects.toThrow('mallory');
  await expect(check(await sign({ email_verified: false }))).rejects.toThrow('verified');
  await expect(check(await sign({ email_verified: undefined }))).rejects.toThrow('verified');
  const claims = { aud: audience, iss: 'https://accounts.google.com', email: metadata.email, email_verified: true };
  const times = { iat: now, exp: now + 3600 };
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  await expect(check(`${part({ alg: 'none', typ: 'JWT' })}.${part({ ...claims, ...times })}.`)).rejects.toThrow();
  const shared = new SignJWT({ ...claims, ...times }).setProtectedHeader({ alg: 'HS256', kid: 'key-1' });
  await expect(check(await shared.sign(Buffer.alloc(32, 'secret')))).rejects.toThrow('alg');
  // Of a key of somebody's own, under the name of Google's.
  const [, good] = (await sign()).split('.');
  const { kid } = JSON.parse(Buffer.from((await sign()).split('.')[0]!, 'base64url').toString());
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const forged = new SignJWT(JSON.parse(Buffer.from(good!, 'base64url').toString()));
  await expect(check(await forged.setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey))).rejects.toThrow(
    'signature',
  );
});

test('clocks may be a minute apart, and no more', async () => {
  for (const [aheadMs, isGood] of [
    [59_000, true],
    [62_000, false],
  ] as const) {
    await using google = await open({ aheadMs });
    const short = google.sign({ exp: nowSeconds(google.clock) });
    const checked = google.check(await short);
    if (isGood) await checked;
    else await expect(checked).rejects.toThrow('"exp"');
  }
});

test('a token that was good is not when it has expired', async () => {
  await using google = await open();
  const token = await google.sign();
  await google.check(token);
  google.clock.pass(hour + 2 * minute);
  await expect(google.check(token)).rejects.toThrow('"exp"');
});

test('keys are asked for once in the time that their server says, however many wait', async () => {
  await using google = await open();
  await Promise.all(Array.from({ length: 20 }, async (_, n) => google.check(await google.sign({ n }))));
  expect(google.asked('/certs')).toBe(1);
  google.clock.pass(19_000_000);
  await google.check(await google.sign());
  expect(google.asked('/certs')).toBe(1);
  google.clock.pass(1_000_000);
  await google.check(await google.sign());
  expect(google.asked('/certs')).toBe(2);
});

test('a new key is found at once, and keys that nobody has are not looked for again and again', async () => {
  await using google = await open();
  await google.check(await google.sign());
  google.clock.pass(minute);
  await google.metadata.rotate();
  await google.check(await google.sign());
  expect(google.asked('/certs')).toBe(2);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (let n = 0; n < 10; n++) {
    const forged = new SignJWT({ aud: audience }).setProtectedHeader({ alg: 'RS256', kid: `made-up-${n}` });
    await expect(google.check(await forged.sign(privateKey))).rejects.toThrow();
  }
  expect(google.asked('/certs')).toBe(2);
});

test('while keys cannot be had those that are known go on being good', async () => {
  await using google = await open();
  await google.check(await google.sign());
  google.metadata.faults.order({ mishap: { status: 404 }, times: Infinity });
  google.clock.pass(6 * hour);
  await google.check(await google.sign());
});

test('while keys cannot be had a token that they may have signed is neither good nor refused: the wire is to come again', async () => {
  await using google = await open();
  const outage = google.metadata.faults.order({ mishap: { status: 404 }, times: Infinity });
  const log = { info() {}, warn() {}, error() {} };
  const admit = async () => {
    const head = { method: 'POST', authorization: `Bearer ${await google.sign()}` };
    return admission(head, google.check, log, 'push');
  };
  for (let tries = 0; tries < 2; tries++) {
    expect(await admit()).toMatchObject({ status: 503, detail: expect.stringContaining('404') });
  }
  outage.takeBack();
  expect(await admit()).toBeUndefined();
  // A new one, which nobody could fetch yet.
  google.clock.pass(minute);
  await google.metadata.rotate();
  google.metadata.faults.order({ mishap: { status: 404 }, times: Infinity });
  for (let tries = 0; tries < 2; tries++) expect(await admit()).toMatchObject({ status: 503 });
});

test('one access token serves all until shortly before it expires, however many ask', async () => {
  await using google = await open();
  const { token } = google.tokens;
  const all = await Promise.all(Array.from({ length: 20 }, () => token()));
  expect(new Set(all).size).toBe(1);
  expect(google.asked('/token')).toBe(1);
  google.clock.pass(50 * minute);
  expect(await token()).toBe(all[0]);
  google.clock.pass(7 * minute);
  const next = await token();
  expect(next).not.toBe(all[0]);
  expect(google.asked('/token')).toBe(2);
});

test('while no other can be had the old one is used to its end, and then it is an error', async () => {
  await using google = await open();
  const { token } = google.tokens;
  const first = await token();
  google.metadata.faults.order({ mishap: { status: 404 }, times: Infinity });
  google.clock.pass(58 * minute);
  expect(await token()).toBe(first);
  google.clock.pass(3 * minute);
  await expect(token()).rejects.toThrow('404');
});

test('one that was refused is not given out again', async () => {
  await using google = await open();
  const first = await google.tokens.token();
  google.metadata.revoke();
  expect(await google.tokens.token(first)).not.toBe(first);
});
