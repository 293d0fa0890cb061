import { OAuth2Client } from 'google-auth-library';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { clientOf } from './google-fixture.ts';
import { name, PushBench, receiver } from './push-bench.ts';
import { PushReceiver } from './push-receiver.ts';

// Real: a broker on a port, and the endpoints it pushes to.

test('its tokens verify by what the broker’s OpenID discovery says, and are renewed before their hour ends', async () => {
  const { port } = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const bench = await PushBench.open({ port, issuer });
  const endpoint = await receiver();
  const serviceAccountEmail = 'pusher@test.iam.gserviceaccount.com';
  await bench.subscribe({ pushEndpoint: endpoint.url, oidcToken: { serviceAccountEmail } });
  const tokenOfNext = async () => {
    await bench.publish('one');
    await expect.poll(() => endpoint.waiting.length).toBe(1);
    const token = /^Bearer (\S+)$/.exec(endpoint.waiting[0]!.headers.authorization ?? '')![1]!;
    endpoint.answer(200);
    await expect.poll(() => bench.backlog()).toBe(0);
    return token;
  };
  const token = await tokenOfNext();
  const discovered = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as Record<
    string,
    string
  >;
  expect(discovered.issuer).toBe(issuer);
  const keys = createRemoteJWKSet(new URL(discovered.jwks_uri!));
  const at = () => new Date(bench.clock.now());
  const options = { issuer, audience: endpoint.url, algorithms: ['RS256'], currentDate: at() };
  const { payload } = await jwtVerify(token, keys, options);
  const issuedAt = Math.floor(Date.UTC(2026, 0, 1) / 1000);
  expect(payload).toEqual({
    aud: endpoint.url,
    azp: payload.sub,
    email: serviceAccountEmail,
    email_verified: true,
    exp: issuedAt + 3600,
    iat: issuedAt,
    iss: issuer,
    sub: expect.stringMatching(/^1\d{20}$/),
  });
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'RS256', kid: expect.any(String), typ: 'JWT' });

  bench.clock.advance(45 * 60_000);
  expect(await tokenOfNext()).toBe(token);
  bench.clock.advance(10 * 60_000);
  const renewed = await tokenOfNext();
  expect(renewed).not.toBe(token);
  await jwtVerify(renewed, keys, { ...options, currentDate: at() });
  await bench.call('ModifyPushConfig', {
    subscription: name,
    pushConfig: { pushEndpoint: endpoint.url, oidcToken: { serviceAccountEmail, audience: 'someone' } },
  });
  await jwtVerify(await tokenOfNext(), keys, { ...options, audience: 'someone', currentDate: at() });
});

test('a receiver written for Google verifies the token with Google’s library, told where the keys are', async () => {
  await using server = await BrokerServer.open();
  const verifier = new OAuth2Client({
    endpoints: { oauth2FederatedSignonPemCertsUrl: `${server.url}/oauth2/v1/certs` },
  });
  const emails: (string | undefined)[] = [];
  const endpoint = await receiver(async (push) => {
    const idToken = push.headers.authorization!.replace('Bearer ', '');
    const ticket = await verifier.verifyIdToken({ idToken, audience: 'https://receiver.example' });
    emails.push(ticket.getPayload()!.email);
    push.answer(200);
  });
  const client = clientOf(server);
  const [news] = await client.createTopic('news');
  const serviceAccountEmail = 'pusher@test.iam.gserviceaccount.com';
  const [subscription] = await news.createSubscription('reader', {
    pushConfig: {
      pushEndpoint: endpoint.url,
      oidcToken: { serviceAccountEmail, audience: 'https://receiver.example' },
    },
  });
  expect((await subscription.getMetadata())[0].pushConfig).toMatchObject({
    pushEndpoint: endpoint.url,
    attributes: { 'x-goog-version': 'v1' },
    oidcToken: { serviceAccountEmail },
  });
  await news.publishMessage({ data: Buffer.from('hello') });
  await expect.poll(() => emails).toEqual([serviceAccountEmail]);
  await expect.poll(() => server.broker.subscription(name).backlog()).toBe(0);
  await client.close();
});

async function freePort(): Promise<{ port: number }> {
  await using endpoint = await PushReceiver.open();
  return { port: Number(new URL(endpoint.url).port) };
}
