import {
  type Actor,
  type BlobStore,
  type Entry,
  erasedRef,
  everyTenant,
  foldedAt,
  type Logger,
  may,
  opened,
  type Ref,
  type Removed,
  readFile,
  refOf,
  removedRef,
  type StateStore,
  sees,
  workflows,
} from '@dormouse/core';
import { z } from 'zod';
import type { ServiceHealth, TopicStatus } from './console.ts';
import { filesOf } from './files.ts';
import { Refusal } from './problem.ts';
import { type Asked, pageQuery, type Route, route } from './route.ts';
import { logAfter, shownTo, streamOf } from './stream.ts';
import { traceOf } from './trace.ts';

export interface WorkflowPorts {
  readonly store: StateStore;
  readonly blobs: BlobStore;
  readonly log: Logger;
  readonly topics: () => readonly TopicStatus[];
  readonly services: () => readonly ServiceHealth[];
  /** Calls back after each commit that touches the workflow, until the answer is called. */
  readonly watch: (workflow: Ref, onChange: () => void) => () => void;
  /** Calls back when a token was revoked, until the answer is called. */
  readonly onRevocation: (callback: () => void) => () => void;
  /** Whether what the request carries still is a good token. */
  readonly stillGood: (request: Request) => Promise<boolean>;
  /** The host is about to stop: streams end. */
  readonly stopping: AbortSignal;
}

const document = z.looseObject({}).meta({ description: 'as the system keeps it' });
const workflow = z.looseObject({
  id: z.string(),
  status: z.string().optional(),
  tenant: z.string().optional().meta({ description: 'in listings for the house’s token' }),
});
const file = z.object({
  key: z.string(),
  name: z.string(),
  sha256: z.string(),
  bytes: z.int(),
  contentType: z.string(),
  personal: z.boolean().optional(),
});
const entry = z.object({
  kind: z.enum(['log', 'journal']),
  cursor: z.string(),
  at: z.number().meta({ description: 'epoch milliseconds' }),
  seq: z.int().optional(),
  hash: z.string().optional(),
  entry: z.looseObject({}),
});
const traceRow = z.looseObject({
  at: z.number(),
  from: z.string(),
  to: z.string(),
  topic: z.string(),
  eventId: z.string(),
  status: z.enum(['published', 'done', 'held', 'deferred', 'retrying', 'dead-lettered', 'scheduled', 'cancelled']),
  attempts: z.int(),
  errors: z.array(z.string()),
});

export function workflowRoutes(ports: WorkflowPorts): Route[] {
  const { store, blobs } = ports;

  /** @throws Refusal 404 where there is none, or it is another tenant's */
  const existing = async ({ actor, params }: Pick<Asked, 'actor' | 'params'>) => {
    const ref = refOf(workflows, params.id!);
    const [found] = await store.get([ref]);
    if (!sees(actor, found!.tenant)) throw new Refusal(404, `there is no workflow "${params.id}"`);
    return { ref, data: found!.data! };
  };

  return [
    route({
      method: 'GET',
      path: '/api/workflows',
      name: 'listWorkflows',
      summary: 'The workflows, newest first.',
      access: 'client',
      query: pageQuery,
      answers: {
        200: {
          description: 'a page',
          schema: z.object({ workflows: z.array(workflow), cursor: z.string().optional() }),
        },
      },
      handle: async ({ actor, query, context }) =>
        context.json(await pageOf(store, actor, 'workflows', workflows, query)),
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id',
      name: 'getWorkflow',
      summary: 'A workflow as it is now.',
      access: 'client',
      answers: { 200: { description: 'the workflow', schema: workflow } },
      handle: async (asked) => asked.context.json((await existing(asked)).data),
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/events',
      name: 'listEvents',
      summary: 'The history of a workflow; asked for as text/event-stream, live, and resuming after Last-Event-ID.',
      access: 'client',
      query: z.object({
        after: z.string().optional().meta({ description: 'cursor of the last entry already seen' }),
        limit: z.coerce.number().int().min(1).max(500).default(500).meta({ description: 'how many' }),
      }),
      answers: {
        // The stream stays out of the answer's types: generated clients would take every answer for either.
        200: {
          description: 'entries, the oldest first; `after` where there are more',
          schema: z.object({ events: z.array(entry), after: z.string().optional() }),
        },
      },
      async handle(asked) {
        const { actor, context, query } = asked;
        const { ref } = await existing(asked);
        if (context.req.header('accept')?.includes('text/event-stream')) return streamOf(context, ref, actor, ports);
        const events: Entry[] = [];
        for await (const each of store.log(logAfter(ref, query.after))) {
          const shown = shownTo(actor, each);
          if (!shown) continue;
          if (events.length === query.limit) return context.json({ events, after: events.at(-1)!.cursor });
          events.push(shown);
        }
        return context.json({ events });
      },
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/trace',
      name: 'traceWorkflow',
      summary: 'The journey of every event of a workflow. What failed and why is shown to operators.',
      access: 'client',
      answers: {
        200: {
          description: 'the journey',
          schema: z.object({
            removed: z
              .object({ journalBefore: z.number().optional(), filesAt: z.number().optional() })
              .optional()
              .meta({ description: 'what retention has removed: failed attempts before a time, the files at a time' }),
            erasedAt: z.number().optional().meta({ description: 'when its personal data was erased' }),
            rows: z.array(traceRow),
            pendingTimers: z.array(z.object({ name: z.string(), dueAt: z.number() })),
          }),
        },
      },
      async handle(asked) {
        const { ref } = await existing(asked);
        const { rows, ...rest } = await traceOf(store, ref, ports.topics(), ports.services());
        const shown = may(asked.actor, 'operator')
          ? rows
          : rows.map(({ failing: _failing, ...row }) => ({ ...row, errors: [], data: null }));
        return asked.context.json({ ...rest, rows: shown });
      },
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/at/:entry',
      name: 'getWorkflowAt',
      summary:
        'A workflow, or a document below it, as it was after an entry of its log: the changes up to there, folded.',
      access: 'client',
      query: z.object({
        document: z
          .string()
          .regex(/^[^/]+\/[^/]+$/, 'must be collection/id, as letters/L01')
          .optional()
          .meta({ description: 'one below it, as letters/L01 (default: the workflow itself)' }),
      }),
      answers: {
        200: {
          description: 'as it was; of a personal document only what the log commits to',
          schema: z.object({
            ref: z.string(),
            seq: z.int(),
            hash: z.string(),
            at: z.number().meta({ description: 'epoch milliseconds' }),
            document: document.nullable(),
          }),
        },
      },
      async handle(asked) {
        const { id, entry } = asked.params;
        const { ref: workflow } = await existing(asked);
        const ref =
          asked.query.document === undefined ? workflow : `${workflow}/${refOf(...asked.query.document.split('/'))}`;
        const folded = /^[1-9]\d{0,15}$/.test(entry!) ? await foldedAt(store, workflow, ref, Number(entry)) : undefined;
        if (!folded) throw new Refusal(404, `the log of "${asked.query.document ?? id}" has no entry ${entry}`);
        return asked.context.json({ ref, ...folded });
      },
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/documents/:collection',
      name: 'listDocuments',
      summary: 'The documents of one collection below a workflow, newest first.',
      access: 'client',
      query: pageQuery,
      answers: {
        200: {
          description: 'a page',
          schema: z.object({ documents: z.array(document), cursor: z.string().optional() }),
        },
      },
      async handle(asked) {
        const { ref } = await existing(asked);
        const collection = `${ref}/${encodeURIComponent(asked.params.collection!)}`;
        return asked.context.json(await pageOf(store, asked.actor, 'documents', collection, asked.query));
      },
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/files',
      name: 'listFiles',
      summary: 'The files of a workflow, by name.',
      access: 'client',
      answers: { 200: { description: 'the newest of each name', schema: z.object({ files: z.array(file) }) } },
      async handle(asked) {
        const { ref } = await existing(asked);
        return asked.context.json({ files: [...(await filesOf(store, ref)).values()] });
      },
    }),
    route({
      method: 'GET',
      path: '/api/workflows/:id/files/:name',
      name: 'getFile',
      summary: 'The content of a file of a workflow.',
      access: 'client',
      answers: { 200: { description: 'the content, of its own media type', types: ['*/*'] } },
      async handle(asked) {
        const { id, name } = asked.params;
        const { ref } = await existing(asked);
        const found = (await filesOf(store, ref)).get(name!);
        if (!found) throw new Refusal(404, `workflow "${id}" has no file "${name}"`);
        const bytes = await readFile(blobs, found).catch(async (error) => {
          const [removed, erased] = await store.get([removedRef(ref), erasedRef(ref)]);
          const { filesAt }: Removed = removed!.data ?? {};
          if (erased!.data && found.personal)
            throw new Refusal(410, `the personal data of workflow "${id}" was erased`);
          if (filesAt === undefined) throw error;
          const at = new Date(filesAt).toISOString();
          throw new Refusal(410, `the files of workflow "${id}" were removed at ${at}, when their time was over`);
        });
        return asked.context.body(Uint8Array.from(bytes), 200, {
          'content-type': found.contentType,
          // Whatever it is, no browser runs it as a page of ours.
          'x-content-type-options': 'nosniff',
          'content-security-policy': "sandbox; default-src 'none'",
        });
      },
    }),
  ];
}

/** One page of a collection, under a name of its own in the answer. The house is told whose each is. */
export async function pageOf(
  store: StateStore,
  { tenant }: Actor,
  name: string,
  collection: Ref,
  { limit, cursor }: z.output<typeof pageQuery>,
): Promise<Record<string, unknown>> {
  // Below a workflow, whose it is, is known.
  const isBelow = collection.includes('/');
  const found = await store.find({
    collection,
    limit,
    ...(tenant !== everyTenant && !isBelow && { tenant }),
    ...(cursor !== undefined && { cursor }),
  });
  const mixed = tenant === everyTenant && !isBelow;
  const told = found.documents
    .filter((each) => tenant === everyTenant || each.tenant === tenant)
    .map(({ data, tenant: owner }) => (mixed ? { ...data, tenant: owner } : opened(data)));
  return { [name]: told, ...(found.cursor && { cursor: found.cursor }) };
}
