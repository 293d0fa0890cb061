// Real: HTTP to a running system's console. Who may ask, what is refused and how it is said.
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { samples } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { until } from './until.ts';

let system: RunningSystem;
/** A case whose one letter waits for its answer. */
let waiting: string;
beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
  waiting = await system.open(silentCase());
  await system.reaches(waiting, 'tracking');
});
afterAll(() => system?.destroy());

function silentCase(): unknown {
  return caseRequest({
    statement: { inline: smallStatement('Silent & Sons') },
    sandbox: { replies: { 'Silent & Sons': 'silent' } },
  });
}

async function expectProblem(response: Response, status: number, detail: RegExp): Promise<Record<string, unknown>> {
  expect(response.status).toBe(status);
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const body = (await response.json()) as Record<string, unknown>;
  expect(body).toMatchObject({ status, detail: expect.stringMatching(detail) });
  return body;
}

describe('who may ask', () => {
  test('a request that calls the host by a foreign name is refused (DNS rebinding), token or not', async () => {
    for (const path of ['/healthz', '/api/workflows', '/sandbox']) {
      const { status, type } = await getAs('evil.example', path);
      expect({ path, status }).toEqual({ path, status: 421 });
      expect(type).toMatch(/^application\/problem\+json/);
    }
    expect((await getAs(`localhost:${system.host.port}`, '/healthz')).status).toBe(200);
  });
});

describe('what is refused, and how', () => {
  test('what is not there is a problem: a route, a workflow, a file, a path out of the files', async () => {
    await expectProblem(await system.fetch('/nothing'), 404, /\/nothing/);
    await expectProblem(await system.fetch('/api/nothing'), 404, /\/api\/nothing/);
    await expectProblem(await system.fetch('/api/workflows/WF-20250129-7K3QXM'), 404, /WF-20250129-7K3QXM/);
    for (const path of ['none.json', '..%2F..%2Fadmin-token', '..%2F..%2F..%2Fadmin-token', '%00', '%ff'])
      await expectProblem(await system.fetch(`/api/workflows/${waiting}/files/${path}`), 404, /no file/);
    await expectProblem(await system.fetch('/api/workflows/..%2Fdead-letters%2Fx'), 404, /no workflow/);
  });

  test('a malformed case request: 400 with every problem by its path', async () => {
    const body = readFileSync(join(samples, 'requests/malformed.json'), 'utf8');
    const answer = await expectProblem(await create(body), 400, /malformed/);
    const paths = ['clientId', 'client.email', 'client.phone', 'documents[0].name', 'statement.period.from'];
    expect((answer.problems as { path: string }[]).map(({ path }) => path)).toEqual(paths);
  });

  test.each([
    ['no JSON', '{"clientId": \n oops', /^line 2, column/],
    ['nothing', '', /./],
    ['no object', '[]', /^request$/],
    [
      'a malformed inline statement',
      JSON.stringify(caseRequest({ statement: { inline: { ...smallStatement(), currency: 'EURO' } } })),
      /^statement\.inline\.currency$/,
    ],
  ])('a body of %s: 400 with the place', async (_title, body, path) => {
    const { problems } = await expectProblem(await create(body), 400, /malformed/);
    expect(problems).toEqual([{ path: expect.stringMatching(path), message: expect.any(String) }]);
  });

  test('a body over 10 MB: 413, whether its length is told or not', async () => {
    const large = ' '.repeat(10_000_001);
    await expectProblem(await create(large), 413, /10000000/);
    const untold = new ReadableStream({
      start(controller) {
        for (let sent = 0; sent < large.length; sent += 1_000_000)
          controller.enqueue(Buffer.from(large.slice(sent, sent + 1_000_000)));
        controller.close();
      },
    });
    const response = await system.fetch('/api/workflows/create', {
      method: 'POST',
      body: untold,
      duplex: 'half',
    } as RequestInit);
    await expectProblem(response, 413, /10000000/);
  });

  test('a method that is not for a path: 405 with those that are', async () => {
    for (const [method, path, allow] of [
      ['DELETE', '/api/workflows', 'GET, HEAD'],
      ['POST', `/api/workflows/${waiting}`, 'GET, HEAD'],
      ['PUT', '/api/tokens', 'GET, HEAD, POST'],
      ['POST', '/healthz', 'GET, HEAD'],
    ]) {
      const response = await system.fetch(path!, { method: method! });
      expect({ path, allow: response.headers.get('allow') }).toEqual({ path, allow });
      await expectProblem(response, 405, new RegExp(method!));
    }
  });

  test('a problem has type, title, status, detail and instance, and a code where there is one', async () => {
    const response = await system.fetch('/api/workflows/WF-none/cancel', { method: 'POST', body: '{"reason":"x"}' });
    expect(await response.json()).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      detail: 'there is no document "workflows/WF-none"',
      instance: '/api/workflows/WF-none/cancel',
      code: 'document.missing',
    });
  });

  test('a page that makes no sense is the asker’s mistake, not the host’s', async () => {
    const queries = ['limit=many', 'limit=0', 'limit=-1', 'limit=1.5', 'limit=501', 'cursor=x', 'cursor=bnVsbA'];
    const statuses = await Promise.all(
      queries.map(async (query) => [query, (await system.fetch(`/api/workflows?${query}`)).status]),
    );
    expect(Object.fromEntries(statuses)).toEqual(Object.fromEntries(queries.map((query) => [query, 400])));
  });
});

describe('a case seen through the API', () => {
  test('the workflow document has the fields of the first seed and a section for each service', async () => {
    const id = await system.open(caseRequest());
    await system.reaches(id, 'closed');
    expect(await system.get(`/api/workflows/${id}`)).toMatchObject({
      id,
      status: 'closed',
      currentPhase: 7,
      clientId: 'client-clara',
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      intake: { validated: true, documentsReceived: true, approved: true },
      data: { fetchedAt: expect.any(String) },
      processing: { itemsProcessed: expect.any(Number), outputsGenerated: 4 },
      tracking: { startedAt: expect.any(String) },
      admin: { closedAt: expect.any(String) },
    });
    const { documents } = await system.get<{ documents: { status: string; file: { name: string } }[] }>(
      `/api/workflows/${id}/documents/letters`,
    );
    expect(documents.map(({ status }) => status)).toEqual(Array(4).fill('accepted'));
    const { name } = documents[0]!.file;
    const letter = await system.fetch(`/api/workflows/${id}/files/${encodeURIComponent(name)}`);
    expect(letter.headers.get('content-type')).toBe('application/pdf');
    expect(
      Buffer.from(await letter.arrayBuffer())
        .subarray(0, 5)
        .toString(),
    ).toBe('%PDF-');
  });

  test('the files of a case are listed, and served with their own media type, never as a page', async () => {
    const { files } = await system.get<{ files: { name: string; bytes: number }[] }>(`/api/workflows/${waiting}/files`);
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['request.json', 'statement.json', 'findings.json']),
    );
    const request = await system.fetch(`/api/workflows/${waiting}/files/request.json`);
    expect(Object.fromEntries(request.headers)).toMatchObject({
      'content-type': 'application/json',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining('sandbox'),
      'cache-control': 'no-store',
    });
    expect(await request.json()).toMatchObject({ clientId: 'client-clara' });
  });

  test('a stream that breaks off and comes back with the last id misses nothing and repeats nothing', async () => {
    const id = await system.open(caseRequest());
    const seen: string[] = [];
    let last: string | undefined;
    for (let over = false; !over; ) {
      const breaking = new AbortController();
      const response = await system.fetch(`/api/workflows/${id}/events`, {
        headers: { accept: 'text/event-stream', ...(last !== undefined && { 'last-event-id': last }) },
        signal: breaking.signal,
      });
      // Three entries a connection, or what there is until the case is over.
      for await (const { event, id: eventId, data } of eventsOf(response)) {
        if (event === 'workflow') over = ['closed', 'escalated'].includes((data as { status: string }).status);
        else {
          last = eventId;
          seen.push((data as { cursor: string }).cursor);
        }
        if (over || (event === 'entry' && seen.length % 3 === 0)) break;
      }
      breaking.abort();
    }
    // Before the whole: what is committed meanwhile, as that the client is told, is in the whole only.
    const rest = await system.get<{ events: unknown[] }>(`/api/workflows/${id}/events?after=${last}`);
    const { events } = await system.get<{ events: { cursor: string }[] }>(`/api/workflows/${id}/events`);
    const cursors = events.map(({ cursor }) => cursor);
    expect(seen.length).toBeGreaterThan(10);
    expect(seen).toEqual(cursors.slice(0, seen.length));
    expect(rest.events).toEqual(events.slice(seen.length, seen.length + rest.events.length));
    const page = await system.get<{ events: unknown[]; after: string }>(`/api/workflows/${id}/events?limit=2`);
    expect(page).toEqual({ events: events.slice(0, 2), after: cursors[1] });
  });

  test('the same Idempotency-Key and body open one case, also many at once; another body is refused', async () => {
    const open = (body: unknown) =>
      system.fetch('/api/workflows/create', {
        method: 'POST',
        headers: { 'idempotency-key': '"order 66"' },
        body: JSON.stringify(body),
      });
    const answers = await Promise.all(Array.from({ length: 8 }, () => open(silentCase())));
    const ids = await Promise.all(
      answers.map(async (answer) => ((await answer.json()) as { workflowId: string }).workflowId),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(ids).size).toBe(1);
    await expectProblem(await open(caseRequest()), 422, /Idempotency-Key/);
    const { workflows } = await system.get<{ workflows: { id: string }[] }>('/api/workflows?limit=500');
    expect(workflows.filter(({ id }) => ids.includes(id))).toHaveLength(1);
  });

  test('workflows are listed newest first, in pages', async () => {
    const opened = [await system.open(silentCase()), await system.open(silentCase())];
    type Page = { workflows: { id: string }[]; cursor?: string };
    const first = await system.get<Page>('/api/workflows?limit=1');
    const second = await system.get<Page>(`/api/workflows?limit=1&cursor=${encodeURIComponent(first.cursor!)}`);
    expect([first, second].flatMap(({ workflows }) => workflows.map(({ id }) => id))).toEqual(opened.toReversed());
  });
});

describe('a counterparty’s webhook', () => {
  const answers = '/api/responses';

  function answer(workflowId: string, letterId = 'L01'): string {
    return JSON.stringify({
      type: 'dispute.answered',
      timestamp: new Date().toISOString(),
      data: { workflowId, letterId, decision: 'accepted' },
    });
  }

  function post(body: string, headers: Record<string, string>): Promise<Response> {
    return fetch(system.url + answers, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });
  }

  /** Source: Standard Webhooks 1.0. */
  function signed(id: string, body: string, at = Date.now()): Record<string, string> {
    const secret = readFileSync(join(system.data, 'webhook-secret'), 'utf8').trim().replace('whsec_', '');
    const timestamp = String(Math.floor(at / 1000));
    const signature = createHmac('sha256', Buffer.from(secret, 'base64'))
      .update(`${id}.${timestamp}.${body}`)
      .digest('base64');
    return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
  }

  test('without a good signature it is refused and has no effect', async () => {
    const body = answer(waiting);
    const good = signed('msg_1', body);
    const { 'webhook-signature': _signature, ...unsigned } = good;
    const bad = [
      {},
      unsigned,
      { ...good, 'webhook-id': 'msg_2' },
      { ...good, 'webhook-signature': 'v1,AAAA' },
      signed('msg_1', body, Date.now() - 3_600_000),
      signed('msg_1', body, Date.now() - 301_000),
      signed('msg_1', body, Date.now() + 3_600_000),
      // A replay under another id, or for another letter, with the signature of the one that was sent.
      { ...signed('msg_2', body), 'webhook-signature': good['webhook-signature']! },
    ];
    for (const headers of bad) {
      const { problems } = await expectProblem(await post(body, headers), 400, /./);
      expect(problems).toEqual([expect.objectContaining({ path: expect.stringMatching(/^webhook-/) })]);
    }
    await expectProblem(await post(`${body} `, good), 400, /./);
    expect(await system.statusOf(waiting)).toBe('tracking');
    expect((await system.trace(waiting)).filter(({ topic }) => topic === 'response.received')).toEqual([]);
  });

  test('signed, but not an answer: 400 with the problems, never 500', async () => {
    const bodies = [
      'no JSON',
      '',
      '{}',
      'null',
      JSON.stringify({ ...JSON.parse(answer(waiting)), data: { workflowId: 1 } }),
    ];
    const statuses = await Promise.all(
      bodies.map(async (body) => [body, (await post(body, signed('msg_bad', body))).status]),
    );
    expect(Object.fromEntries(statuses)).toEqual(Object.fromEntries(bodies.map((body) => [body, 400])));
  });

  test('about a case or letter that is not there: refused', async () => {
    for (const body of [
      answer('WF-20250129-7K3QXM'),
      answer(waiting, 'L99'),
      answer('../x'),
      answer('..'),
      answer(waiting, '..'),
    ]) {
      const response = await post(body, signed(`msg_${body.length}`, body));
      const refused = response.status >= 400 && response.status < 500;
      expect({ body, status: response.status, refused }).toMatchObject({ refused: true });
      expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    }
  });

  test('sent many times under one id, at once and again later, it has one effect', async () => {
    const id = await system.open(silentCase());
    await system.reaches(id, 'tracking');
    const body = answer(id);
    const send = () => post(body, signed(`msg_${id}`, body));
    const statuses = (await Promise.all([send(), send(), send()])).map(({ status }) => status);
    expect(statuses).toEqual([201, 201, 201]);
    await system.reaches(id, 'closed');
    expect((await send()).status).toBe(201);
    await until('all is quiet', async () => (await system.trace(id)).every(({ status }) => status !== 'published'));
    const rows = await system.trace(id);
    expect(rows.filter(({ topic }) => topic === 'response.received')).toHaveLength(1);
    const { counts } = await system.records(id);
    expect(counts.mail.effects).toBe(3);
  });
});

/** Of a server-sent stream. */
async function* eventsOf(response: Response): AsyncGenerator<{ event: string; id: string; data: unknown }> {
  let rest = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
      if (field('data') !== '') yield { event: field('event'), id: field('id'), data: JSON.parse(field('data')) };
    }
  }
}

function create(body: string): Promise<Response> {
  return system.fetch('/api/workflows/create', { method: 'POST', body });
}

/** `fetch` does not let one choose the Host header. */
function getAs(host: string, path: string): Promise<{ status: number; type: string | undefined }> {
  const authorization = `Bearer ${system.host.token}`;
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: system.host.port, path, headers: { host, authorization } }, (response) => {
      response.resume();
      resolve({ status: response.statusCode!, type: response.headers['content-type'] });
    })
      .on('error', reject)
      .end();
  });
}
