import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import {
  fetchStatementText,
  type StatementFetchOptions,
  StatementRefused,
  StatementUnavailable,
} from './statement-url.ts';

function fetchText(url: string, options: Partial<StatementFetchOptions> = {}): Promise<string> {
  const signal = new AbortController().signal;
  return fetchStatementText(url, { allowedHosts: ['loopback'], ownPorts: [], signal, ...options });
}

async function failureOf(fetching: Promise<string>): Promise<Error> {
  return fetching.then(
    (text) => Promise.reject(new Error(`got ${text}`)),
    (error) => error,
  );
}

test('a statement on loopback is fetched, query and all', async () => {
  const { url } = await serve((request, response) => response.end(`\uFEFF${request.method} ${request.url} 中`));
  expect(await fetchText(`${url}/statement?key=1#part`)).toBe('GET /statement?key=1 中');
});

test('a host on the list is fetched from, with its port or without, and no other', async () => {
  const { url, port } = await serve((_, response) => response.end('ok'));
  expect(await fetchText(url, { allowedHosts: ['127.0.0.1'] })).toBe('ok');
  expect(await fetchText(url, { allowedHosts: [`127.0.0.1:${port}`] })).toBe('ok');
  const failure = await failureOf(fetchText(url, { allowedHosts: ['127.0.0.1:1', 'bank.example'] }));
  expect(failure).toBeInstanceOf(StatementRefused);
  expect(failure.message).toContain(`which is no allowed host: add it to CASEWORK_STATEMENT_HOSTS`);
});

test.each([
  ['ftp://127.0.0.1/x', 'has the protocol ftp:'],
  ['http://user:secret@127.0.0.1/x', 'holds a user name or password'],
  ['http://[', 'can not be read'],
])('%s is refused', async (url, message) => {
  const failure = await failureOf(fetchText(url));
  expect(failure).toBeInstanceOf(StatementRefused);
  expect(failure.message).toContain(message);
  expect(failure.message).not.toContain('secret');
});

test('our own ports are refused', async () => {
  const { url, port } = await serve((_, response) => response.end('ok'));
  for (const own of [
    url,
    `http://localhost:${port}`,
    `http://[::ffff:127.0.0.1]:${port}`,
    `http://2130706433:${port}`,
  ]) {
    const failure = await failureOf(fetchText(own, { ownPorts: [port] }));
    expect(failure).toBeInstanceOf(StatementRefused);
    expect(failure.message).toContain(`leads to port ${port} of this system itself`);
  }
});

test('a name is refused when any of its addresses is internal, and nothing is asked', async () => {
  let asked = 0;
  const { port } = await serve((_, response) => {
    asked += 1;
    response.end('ok');
  });
  const addresses = [
    { address: '93.184.216.34', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ];
  const failure = await failureOf(
    fetchText(`http://bank.example:${port}/`, {
      allowedHosts: ['bank.example', 'loopback'],
      resolve: async () => addresses,
    }),
  );
  expect(failure).toBeInstanceOf(StatementRefused);
  expect(failure.message).toContain('leads to an internal address');
  expect(asked).toBe(0);
});

test('the address asked is the one that was checked: a name is resolved once a request', async () => {
  const { port } = await serve((_, response) => response.end('ok'));
  const answers = ['127.0.0.1', '10.0.0.1'];
  const resolve = async () => [{ address: answers.shift()!, family: 4 }];
  expect(await fetchText(`http://bank.localhost:${port}`, { resolve })).toBe('ok');
  expect(answers).toEqual(['10.0.0.1']);
});

test('a name that leads elsewhere after a redirect is checked again', async () => {
  const { port } = await serve((_, response) => response.writeHead(302, { location: '/next' }).end());
  const answers = ['127.0.0.1', '10.0.0.1'];
  const resolve = async () => [{ address: answers.shift()!, family: 4 }];
  const failure = await failureOf(fetchText(`http://bank.localhost:${port}`, { resolve }));
  expect(failure).toBeInstanceOf(StatementRefused);
  expect(failure.message).toContain('leads from bank.localhost to elsewhere');
});

test('a name that can not be resolved is unavailable', async () => {
  const cause = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
  const resolve = () => Promise.reject(cause);
  const failure = await failureOf(fetchText('http://bank.example', { allowedHosts: ['bank.example'], resolve }));
  expect(failure).toBeInstanceOf(StatementUnavailable);
  expect(failure.cause).toBe(cause);
});

test('three redirects within the host are followed, a fourth is not', async () => {
  const { url } = await serve((request, response) => {
    const left = Number(request.url?.slice(1));
    if (left > 0) response.writeHead(302, { location: `/${left - 1}` }).end();
    else response.end('there');
  });
  expect(await fetchText(`${url}/3`)).toBe('there');
  const failure = await failureOf(fetchText(`${url}/4`));
  expect(failure).toBeInstanceOf(StatementRefused);
  expect(failure.message).toContain('redirects more than 3 times');
});

test('a redirect to another host, port or protocol is refused', async () => {
  const other = await serve((_, response) => response.end('other'));
  const { url, port } = await serve((request, response) =>
    response.writeHead(307, { location: decodeURIComponent(request.url!.slice(1)) }).end(),
  );
  for (const location of [other.url, `https://127.0.0.1:${port}/`, `//localhost:${port}/`, 'file:///etc/passwd']) {
    const failure = await failureOf(fetchText(`${url}/${encodeURIComponent(location)}`));
    expect(failure).toBeInstanceOf(StatementRefused);
    expect(failure.message).toContain('redirects to another host');
  }
});

test('a redirect to nowhere is refused', async () => {
  const { url } = await serve((_, response) => response.writeHead(302).end());
  expect(await failureOf(fetchText(url))).toBeInstanceOf(StatementRefused);
});

test.each([304, 400, 401, 403, 404, 410])('status %i is refused', async (status) => {
  expect(await failureOnStatus(status)).toBeInstanceOf(StatementRefused);
});

test.each([408, 429, 500, 502, 503])('status %i is unavailable', async (status) => {
  expect(await failureOnStatus(status)).toBeInstanceOf(StatementUnavailable);
});

test('a body is read up to the limit and not a byte further, announced or not', async () => {
  const { url } = await serve((request, response) => {
    if (request.url === '/announced') response.setHeader('content-length', 101);
    response.write('x'.repeat(100));
    if (request.url === '/just') response.end();
    else response.end('x');
  });
  expect(await fetchText(`${url}/just`, { maxBytes: 100 })).toHaveLength(100);
  for (const path of ['announced', 'streamed']) {
    const failure = await failureOf(fetchText(`${url}/${path}`, { maxBytes: 100 }));
    expect(failure).toBeInstanceOf(StatementRefused);
    expect(failure.message).toContain('is larger than 100 bytes');
  }
});

test('a body without end is cut off at the limit', async () => {
  const { url } = await serve((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
      response.once('drain', more);
    };
    more();
  });
  expect(await failureOf(fetchText(url, { maxBytes: 1_000_000 }))).toBeInstanceOf(StatementRefused);
});

test('a host that does not answer in time, or not in full, is unavailable', async () => {
  const { url } = await serve((request, response) => {
    if (request.url === '/half') response.write('half of');
  });
  for (const path of ['never', 'half']) {
    const failure = await failureOf(fetchText(`${url}/${path}`, { timeoutMs: 100 }));
    expect(failure).toBeInstanceOf(StatementUnavailable);
    expect(failure.message).toContain('did not arrive in full within 100 ms');
  }
});

test('a name that is never resolved is unavailable when the time is up', async () => {
  const resolve = () => new Promise<never>(() => {});
  const failure = await failureOf(fetchText('http://bank.localhost', { resolve, timeoutMs: 50 }));
  expect(failure).toBeInstanceOf(StatementUnavailable);
});

test('a connection refused, cut off, or not spoken to in HTTPS is unavailable', async () => {
  const { url, port } = await serve((request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('half of', () => request.socket.destroy());
  });
  for (const broken of [url, `https://127.0.0.1:${port}`, 'http://127.0.0.1:1']) {
    expect(await failureOf(fetchText(broken))).toBeInstanceOf(StatementUnavailable);
  }
});

test("an abort ends the fetch with the caller's reason", async () => {
  const { url } = await serve(() => controller.abort(reason));
  const controller = new AbortController();
  const reason = new Error('the step is over');
  expect(await failureOf(fetchText(url, { signal: controller.signal }))).toBe(reason);
});

test('what is not UTF-8, or compressed unasked, is refused', async () => {
  const { url } = await serve((request, response) => {
    if (request.url === '/gzip') response.setHeader('content-encoding', 'gzip');
    response.end(Buffer.from([0x7b, 0xff, 0x7d]));
  });
  expect((await failureOf(fetchText(`${url}/latin`))).message).toContain('is not UTF-8');
  expect((await failureOf(fetchText(`${url}/gzip`))).message).toContain('is encoded as gzip');
});

test('no message holds the query of a URL', async () => {
  const { url } = await serve((_, response) => response.writeHead(404).end());
  for (const address of [
    `${url}/a?key=secret`,
    'http://elsewhere.example/a?key=secret',
    'http://127.0.0.1:1/a?key=secret',
  ]) {
    const { message } = await failureOf(fetchText(address));
    expect(message).toContain('/a ');
    expect(message).not.toContain('secret');
  }
});

async function failureOnStatus(status: number): Promise<Error> {
  const { url } = await serve((_, response) => response.writeHead(status).end());
  return failureOf(fetchText(url));
}

/** A real server on loopback, for what goes over the wire is what is tested. */
async function serve(answer: RequestListener): Promise<{ url: string; port: number }> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port };
}
