// Real: a running system whose broker pushes to an endpoint that is none of its services.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

test('the system’s broker pushes to an endpoint elsewhere, over a restart; keys are everyone’s, the broker is not', async () => {
  const pushed: { readonly text: string; readonly token: string }[] = [];
  const endpoint = createServer(async (incoming, response) => {
    const { message } = JSON.parse(Buffer.concat(await incoming.toArray()).toString());
    const token = incoming.headers.authorization!.replace('Bearer ', '');
    pushed.push({ text: Buffer.from(message.data, 'base64').toString(), token });
    response.writeHead(pushed.length === 1 ? 500 : 204).end();
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    endpoint.closeAllConnections();
    endpoint.close();
  });
  const pushEndpoint = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`;

  const args = ['--no-sample', '--host', '0.0.0.0'];
  let system = await RunningSystem.ofThisTest({ args });
  const call = async (method: string, path: string, body: object) => {
    const headers = { authorization: `Bearer ${system.host.token}`, 'content-type': 'application/json' };
    const url = `${system.brokerUrl}/v1/projects/other/${path}`;
    const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
    expect(response.status).toBe(200);
    return (await response.json()) as { messageIds: [string] };
  };
  await call('PUT', 'topics/news', {});
  await call('PUT', 'subscriptions/reader', {
    topic: 'projects/other/topics/news',
    pushConfig: { pushEndpoint, oidcToken: { serviceAccountEmail: 'a@b.example' } },
  });
  await call('POST', 'topics/news:publish', { messages: [{ data: Buffer.from('one').toString('base64') }] });
  await until('the message is pushed twice', () => pushed.length === 2);
  await system.stop();
  system = await RunningSystem.ofThisTest({ args, data: system.data });
  const { messageIds } = await call('POST', 'topics/news:publish', {
    messages: [{ data: Buffer.from('two').toString('base64') }],
  });
  await until('the second message is pushed', () => pushed.length === 3);
  expect(pushed.map(({ text }) => text)).toEqual(['one', 'one', 'two']);

  const told = async () => (await system.run(['explain', messageIds[0]])).stdout;
  await until('its ack is on record', async () =>
    /reader\n +acked: it was acked \(at .*, 1 delivery\)/.test(await told()),
  );

  for (const path of ['v1/projects/other/topics', 'admin/subscriptions']) {
    expect((await fetch(`${system.brokerUrl}/${path}`)).status).toBe(401);
  }
  const keys = createRemoteJWKSet(new URL(`${system.brokerUrl}/oauth2/v3/certs`));
  for (const { token } of pushed) {
    await jwtVerify(token, keys, { issuer: 'https://accounts.google.com', audience: pushEndpoint });
  }
});
