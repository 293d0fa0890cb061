// Real: a running system, and 2,000 requests and statements that are almost right. Nothing crashes, nothing is answered 500,
// what is refused is refused with a list of problems, and what is taken reaches an end.
import { createHmac, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readInput } from '../../packages/cli/src/case-input.ts';
import { caseRequest, smallStatement } from '../system/case-request.ts';
import { samples } from '../system/program.ts';
import { RunningSystem } from '../system/running-system.ts';
import { StatementServer } from '../system/statement-server.ts';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { until } from '../system/until.ts';
import { mutatedBytes, mutatedJson } from './mutations.ts';

const folder = temporaryFolder();
const seed = Number(process.env.DORMOUSE_SEED ?? Date.now() % 2 ** 31);
process.stdout.write(`mutated input: seed ${seed}\n`);
const runs = (numRuns: number) => ({ numRuns, seed });

const read = (file: string) => readFileSync(join(samples, file), 'utf8');
// Most of what is taken is rejected by intake: a case costs more than a request.
const unpaid = { ...JSON.parse(read('requests/unpaid.json')), statement: { inline: smallStatement() } };
const requests = [unpaid, JSON.parse(read('requests/unpaid.json')), JSON.parse(read('requests/missing-consent.json'))];
const statements = ['arithmetic.json', 'dinar.json', 'yen.json', 'oddities.json', 'overcharge.json', 'chinese.json'];

let system: RunningSystem;
let bank: StatementServer;
const taken: string[] = [];

beforeAll(async () => {
  bank = await StatementServer.start();
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => {
  system?.destroy();
  bank?.close();
});

test('600 requests for a case are opened, or refused with a list of problems', async () => {
  const body = fc.oneof(
    { arbitrary: mutatedJson(requests), weight: 3 },
    { arbitrary: mutatedBytes(requests.map((request) => JSON.stringify(request))), weight: 1 },
  );
  const type = fc.constantFrom('application/json', 'application/json', 'text/plain', 'application/xml; charset=utf-16');
  const property = fc.asyncProperty(body, type, async (body, type) => {
    const response = await create(body, type);
    if (response.status === 201) taken.push(((await response.json()) as { workflowId: string }).workflowId);
    else await expectProblems(response, [400, 413, 415]);
  });
  await fc.assert(property, runs(595));
  for (const bytes of [10_000_001, 12_000_000, 10_000_000]) {
    await expectProblems(await create(`{"clientId":"${'x'.repeat(bytes - 15)}"}`, 'application/json'), [400, 413]);
  }
  for (const text of ['['.repeat(1_000_000), `{"client":${'{"client":'.repeat(200_000)}`]) {
    await expectProblems(await create(text, 'application/json'), [400]);
  }
});

test('300 webhooks are taken where they are signed and well-formed, and refused with a list of problems otherwise', async () => {
  const replies = { 'Silent & Sons': 'silent' };
  const statement = { inline: smallStatement('Silent & Sons') };
  const waiting = await system.open(caseRequest({ statement, sandbox: { replies } }));
  await system.reaches(waiting, 'tracking');
  const answer = (workflowId: string) => ({
    type: 'dispute.answered',
    timestamp: '2026-01-01T00:00:00Z',
    data: { workflowId, letterId: 'L99', decision: 'accepted' },
  });
  const bodies = [answer(waiting), answer('WF-20250129-7K3QXM')];
  const headers = fc.constantFrom('id', 'timestamp', 'signature', 'secret', 'old', 'none');
  const property = fc.asyncProperty(mutatedJson(bodies), headers, fc.nat(), async (body, wrong, at) => {
    const signed = signature(body);
    const name = `webhook-${wrong}`;
    if (signed[name]) signed[name] = broken(signed[name], at);
    if (wrong === 'secret') Object.assign(signed, signature(body, { secret: 'whsec_b3RoZXI=' }));
    if (wrong === 'old') Object.assign(signed, signature(body, { seconds: 1_000_000 }));
    const response = await fetch(`${system.url}/api/responses`, { method: 'POST', headers: signed, body });
    // A mutation can outgrow what is read of a webhook: 413 before anything else is looked at.
    await expectProblems(response, wrong === 'none' ? [400, 404, 409, 413] : [400, 401, 413]);
  });
  await fc.assert(property, runs(300));
  expect(await system.statusOf(waiting)).toBe('tracking');
});

test('800 statements are read, or refused with a list of problems, by what reads the file of a case', async () => {
  const texts = [...statements, 'card-export.csv'].map(read);
  const text = fc.oneof(
    mutatedJson(statements.map((file) => JSON.parse(read(file)))).map((text) => Buffer.from(text)),
    mutatedBytes(texts),
  );
  mkdirSync(join(folder, 'statements'));
  const property = fc.asyncProperty(text, fc.constantFrom('json', 'csv'), async (bytes, extension) => {
    const file = join(folder, 'statements', `statement.${extension}`);
    writeFileSync(file, bytes);
    const input = await readInput(file, 'EUR');
    if ('problems' in input) expectProblemList(input.problems);
    else expect(input.kind).toMatch(/statement|case request/);
  });
  await fc.assert(property, runs(800));
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test('240 requests to the broker are served, or refused in the shape of Google’s errors', async () => {
  const message = { data: 'e30=', attributes: { 'ce-id': '1', 'ce-type': 'x' }, orderingKey: '' };
  const publish = { messages: [message, message] };
  const project = `${system.brokerUrl}/v1/projects/dormouse`;
  const response = await fetch(`${project}/topics/mutated`, { method: 'PUT', ...json('{}') });
  expect(response.status).toBe(200);
  const subscription = {
    topic: 'projects/dormouse/topics/mutated',
    ackDeadlineSeconds: 10,
    filter: 'attributes.a = "b"',
    retryPolicy: { minimumBackoff: '10s', maximumBackoff: '600s' },
  };
  const call = fc.oneof(
    fc.record({
      method: fc.constant('POST'),
      path: fc.constant('/topics/mutated:publish'),
      body: mutatedJson([publish]),
    }),
    fc.record({
      method: fc.constant('PUT'),
      path: fc.nat({ max: 5 }).map((n) => `/subscriptions/mutated-${n}`),
      body: mutatedJson([subscription]),
    }),
    fc.record({
      method: fc.constant('POST'),
      path: fc
        .constantFrom(':pull', ':acknowledge', ':modifyAckDeadline', ':modifyPushConfig')
        .map((verb) => `/subscriptions/mutated-0${verb}`),
      body: mutatedJson([
        { maxMessages: 1, returnImmediately: true, ackIds: ['YWNrIDE'], ackDeadlineSeconds: 10, pushConfig: {} },
      ]),
    }),
    fc.record({
      method: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE'),
      path: fc.constantFrom(
        '/topics/%00',
        '/topics/__proto__',
        '/topics/..%2f',
        '/subscriptions/%ff',
        '/nothing',
        '/topics/mutated:nothing',
      ),
      body: fc.constantFrom('{}', '', '[', '"text"', '{"updateMask":"x"}'),
    }),
    mutatedBytes([JSON.stringify(publish)]).map((body) => ({ method: 'POST', path: '/topics/mutated:publish', body })),
  );
  const property = fc.asyncProperty(call, async ({ method, path, body }) => {
    const response = await fetch(project + path, { method, ...json(body) });
    if (response.ok) return;
    const { error } = (await response.json()) as { error: { details?: { '@type': string }[] } };
    const { details = [], ...told } = error;
    for (const detail of details) expect(detail['@type']).toMatch(/^type\.googleapis\.com\/google\.rpc\./);
    expect(told).toEqual({
      code: response.status,
      message: expect.stringMatching(/./),
      status: expect.stringMatching(/^[A-Z_]+$/),
    });
    // 501: UNIMPLEMENTED says what it is.
    expect([400, 404, 409, 413, 501]).toContain(response.status);
  });
  await fc.assert(property, runs(240));
});

test('60 statements that a bank answers with end as cases: closed, escalated, or rejected with the reasons', async () => {
  const text = fc.oneof(
    mutatedJson([smallStatement() as never]).map((text) => Buffer.from(text)),
    mutatedBytes([JSON.stringify(smallStatement())]),
  );
  const answers = fc.sample(text, runs(60));
  const urls = answers.map((answer, index) => bank.on(`/${index}.json`, answer));
  taken.push(...(await Promise.all(urls.map((url) => system.open(caseRequest({ statement: { url } }))))));
});

test('whatever was taken has reached its end; nothing died, nothing crashed, no request failed', async () => {
  expect(taken.length).toBeGreaterThan(60);
  type Case = { status: string };
  for (const id of taken) {
    const found = await until(`the end of ${id}`, async () => {
      const found = await system.get<Case>(`/api/workflows/${id}`);
      return ['closed', 'rejected', 'escalated'].includes(found.status) && found;
    });
    if (found.status !== 'rejected') continue;
    const { documents } = await system.get<{ documents: unknown[] }>(`/api/workflows/${id}/documents/grounds`);
    expect(documents).toEqual([{ outcome: 'rejected', reasons: expect.arrayContaining([expect.any(String)]) }]);
  }
  expect((await system.get<{ deadLetters: unknown[] }>('/api/dead-letters')).deadLetters).toEqual([]);
  const log = readFileSync(join(system.data, 'host.log'), 'utf8').split('\n').filter(Boolean);
  const errors = log.map((line) => JSON.parse(line)).filter(({ level }) => level === 'error');
  expect(errors).toEqual([]);
  for (const { name, lastExit } of await system.services()) {
    expect({ name, exit: lastExit?.reason ?? 'none' }).toEqual({
      name,
      exit: expect.stringMatching(/^(none|retired)$/),
    });
  }
});

function create(body: string | Uint8Array, type: string): Promise<Response> {
  return system.fetch('/api/workflows/create', {
    method: 'POST',
    headers: { 'content-type': type },
    body: body as string,
  });
}

function json(body: string | Uint8Array): RequestInit {
  return { headers: { 'content-type': 'application/json' }, body: body as string };
}

/** Problem details, with each problem named where the input is malformed. */
async function expectProblems(response: Response, statuses: readonly number[]): Promise<void> {
  const text = await response.text();
  expect({ status: response.status, text }).toEqual({ status: expect.toBeOneOf([...statuses]), text });
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const { detail, problems } = JSON.parse(text);
  expect(detail).toMatch(/./);
  if (response.status === 400) expectProblemList(problems);
}

function expectProblemList(problems: unknown): void {
  const problem = { path: expect.any(String), message: expect.stringMatching(/./) };
  expect(problems).toEqual(expect.arrayContaining([expect.objectContaining(problem)]));
}

function signature(
  body: string,
  {
    secret = readFileSync(join(system.data, 'webhook-secret'), 'utf8').trim(),
    seconds = Math.floor(Date.now() / 1000),
  } = {},
): Record<string, string> {
  const id = `msg_${randomUUID()}`;
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const digest = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': `v1,${digest}` };
}

/** One character of it another. */
function broken(text: string, at: number): string {
  const index = at % text.length;
  const other = text[index] === '7' ? '8' : '7';
  return text.slice(0, index) + other + text.slice(index + 1);
}
