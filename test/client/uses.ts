// What a user of the generated client writes. Type-checked against what was generated from a running host's description,
// then run against that host, by client.test.ts: each `@ts-expect-error` is a mistake that the types must catch.
import createClient from 'openapi-fetch';
import type { components, paths } from './openapi.d.ts';

const [baseUrl, token, request] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token}` } });

const created = await client.POST('/api/workflows/create', {
  params: { header: { 'Idempotency-Key': '"from the client"' } },
  body: JSON.parse(request),
});
if (!created.data) throw new Error(created.error.detail);
const id: string = created.data.workflowId;

const listed = await client.GET('/api/workflows', { params: { query: { limit: 5 } } });
const ids: string[] = listed.data!.workflows.map((each) => each.id);

const events = await client.GET('/api/workflows/{id}/events', { params: { path: { id } } });
const cursors: string[] = events.data!.events.map(({ cursor }) => cursor);

const cancelled = await client.POST('/api/workflows/{id}/cancel', {
  params: { path: { id } },
  body: { reason: 'tried the client out' },
});
const missing = await client.GET('/api/workflows/{id}', { params: { path: { id: 'WF-none' } } });
const problem: components['schemas']['Problem'] = missing.error!;

// @ts-expect-error: there is no such path
void (() => client.GET('/api/nothing'));
// @ts-expect-error: a page has a number as its limit
void (() => client.GET('/api/workflows', { params: { query: { limit: 'many' } } }));
// @ts-expect-error: a reason is asked for
void (() => client.POST('/api/workflows/{id}/cancel', { params: { path: { id } }, body: {} }));
// @ts-expect-error: a role is one of three
void (() => client.POST('/api/tokens', { body: { role: 'king' } }));
// @ts-expect-error: a case has an id, no number
const wrong: number = created.data.workflowId;
void wrong;

process.stdout.write(
  `${JSON.stringify({ id, ids, cursors, cancelled: cancelled.data, problem: [problem.status, problem.title] })}\n`,
);
