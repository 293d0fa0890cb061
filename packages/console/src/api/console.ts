import { timingSafeEqual } from 'node:crypto';
import {
  type Actor,
  type Command,
  causeOf,
  DormouseError,
  deadLetters,
  everyTenant,
  InvalidInput,
  type Logger,
  type Ref,
  refOf,
  runCommand,
  type StepPorts,
  workflows,
} from '@dormouse/core';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { streamSSE } from 'hono/streaming';
import { problem } from './problem.ts';
import { traceOf } from './trace.ts';

export interface ConsolePorts extends StepPorts {
  readonly system: string;
  readonly log: Logger;
  readonly commands: readonly Command[];
  /** Good for everything. */
  readonly adminToken: string;
  readonly services: () => readonly ServiceHealth[];
  readonly topics: () => readonly TopicStatus[];
  /** Stops or resumes the pushes of a subscription. False where there is none of that name. */
  readonly pause: (subscription: string, paused: boolean) => Promise<boolean>;
  /** Calls back after each commit that touches the workflow, until the answer is called. */
  readonly watch: (workflow: Ref, onChange: () => void) => () => void;
  /** Path prefixes that others answer, without a token: the sandbox. */
  readonly mounts: ReadonlyMap<string, (request: Request) => Promise<Response>>;
}

export interface ServiceHealth {
  readonly name: string;
  /** Why it does not work, where it does not: its messages wait. Times are epoch milliseconds. */
  readonly failing?: {
    readonly failures: number;
    readonly since: number;
    readonly reason: string;
    readonly output: string;
    readonly retryAt: number;
  };
}

export interface TopicStatus {
  readonly name: string;
  readonly subscriptions: readonly { readonly name: string; readonly backlog: number; readonly paused: boolean }[];
}

/** The HTTP API for clients and operators. Errors are problem details (RFC 9457). */
export function createConsole(ports: ConsolePorts): Hono {
  const { store, blobs, log } = ports;
  const app = new Hono();

  // A page elsewhere can make a browser call us by a name of its own (DNS rebinding); it cannot forge this header.
  app.use(async (context, next) => {
    const host = new URL(context.req.url).hostname;
    if (!['127.0.0.1', 'localhost', '[::1]'].includes(host)) {
      return problem(421, `this host does not answer to the name "${host}"; use 127.0.0.1 or localhost`);
    }
    await next();
  });
  app.onError((error) => {
    if (error instanceof InvalidInput) return problem(400, 'the input is malformed', { problems: error.problems });
    const code = error instanceof DormouseError ? error.code : undefined;
    if (code === 'command.refused') return problem(409, (error as Error).message);
    if (code === 'command.key-reused') return problem(422, (error as Error).message, { code });
    if (code === 'query.invalid') return problem(400, (error as Error).message);
    if (code === 'document.missing' || code === 'document.ref') return problem(404, (error as Error).message);
    log.error('request.failed', { code, cause: causeOf(error) });
    if (code === 'store.unavailable') {
      return problem(503, 'the state cannot be read or written now; nothing was done, try again later', { code });
    }
    return problem(500, 'this request failed; the log of the host tells why', { code });
  });
  app.notFound((context) => problem(404, `there is nothing at ${context.req.path}`));

  app.get('/healthz', (context) => context.json({ status: 'ok' }));
  for (const [prefix, handle] of ports.mounts) {
    app.all(prefix, (context) => handle(context.req.raw));
    app.all(`${prefix}/*`, (context) => handle(context.req.raw));
  }

  // Webhooks prove themselves; everything else under /api needs a token.
  for (const command of ports.commands) addCommand(app, command, ports);

  app.use('/api/*', (context, next) => requireToken(context, ports.adminToken, next));

  /** One page of a collection, under a name of its own in the answer. */
  const page = async (context: Context, name: string, collection: Ref, limit = context.req.query('limit')) => {
    const cursor = context.req.query('cursor');
    const found = await store.find({
      collection,
      ...(limit && { limit: Number(limit) }),
      ...(cursor && { cursor }),
    });
    return context.json({
      [name]: found.documents.map(({ data }) => data),
      ...(found.cursor && { cursor: found.cursor }),
    });
  };

  app.get('/api/workflows', (context) => page(context, 'workflows', workflows));

  const existing = async (context: Context) => {
    const ref = refOf(workflows, context.req.param('id')!);
    const [workflow] = await store.get([ref]);
    return workflow!.data === null ? undefined : { ref, data: workflow!.data };
  };
  const unknown = (context: Context) => problem(404, `there is no workflow "${context.req.param('id')}"`);

  app.get('/api/workflows/:id', async (context) => {
    const workflow = await existing(context);
    return workflow ? context.json(workflow.data) : unknown(context);
  });

  app.get('/api/workflows/:id/trace', async (context) => {
    const workflow = await existing(context);
    if (!workflow) return unknown(context);
    return context.json(await traceOf(store, workflow.ref, ports.topics(), ports.services()));
  });

  app.get('/api/workflows/:id/events', async (context) => {
    const workflow = await existing(context);
    if (!workflow) return unknown(context);
    if (!context.req.header('accept')?.includes('text/event-stream')) {
      const entries = await Array.fromAsync(store.log({ workflow: workflow.ref }));
      return context.json({ events: entries });
    }
    let after = Number(context.req.header('last-event-id') ?? 0);
    if (!Number.isSafeInteger(after)) return problem(400, 'Last-Event-ID is no position of this stream');
    return streamSSE(context, async (stream) => {
      let wake = Promise.withResolvers<void>();
      const unwatch = ports.watch(workflow.ref, () => wake.resolve());
      stream.onAbort(() => {
        unwatch();
        wake.resolve();
      });
      while (!stream.aborted) {
        wake = Promise.withResolvers<void>();
        for await (const entry of store.log({ workflow: workflow.ref, after })) {
          after = entry.position;
          await stream.writeSSE({ id: String(entry.position), event: 'entry', data: JSON.stringify(entry) });
        }
        const [current] = await store.get([workflow.ref]);
        await stream.writeSSE({ event: 'workflow', data: JSON.stringify(current!.data) });
        await wake.promise;
      }
    });
  });

  app.get('/api/workflows/:id/documents/:collection', async (context) => {
    const workflow = await existing(context);
    if (!workflow) return unknown(context);
    const collection = `${workflow.ref}/${encodeURIComponent(context.req.param('collection'))}`;
    return page(context, 'documents', collection, '500');
  });

  app.get('/api/workflows/:id/files/:folder/:name', async (context) => {
    const { id, folder, name } = context.req.param();
    const bytes = await blobs.get([id, folder, name].join('/')).catch(() => undefined);
    if (!bytes) return problem(404, `workflow "${id}" has no file "${name}"`);
    const type = name.endsWith('.pdf') ? 'application/pdf' : 'application/octet-stream';
    return context.body(Uint8Array.from(bytes), 200, { 'content-type': type, 'x-content-type-options': 'nosniff' });
  });

  app.get('/api/dead-letters', (context) => page(context, 'deadLetters', deadLetters));

  app.get('/api/dead-letters/:id', async (context) => {
    const id = context.req.param('id');
    const [found] = await store.get([refOf(deadLetters, id)]);
    return found!.data === null ? problem(404, `there is no dead letter "${id}"`) : context.json(found!.data);
  });

  app.get('/api/services', (context) => context.json({ services: ports.services() }));
  app.get('/api/topics', (context) => context.json({ topics: ports.topics() }));
  for (const action of ['pause', 'resume']) {
    app.post(`/api/subscriptions/:name/${action}`, async (context) => {
      const name = context.req.param('name');
      const known = await ports.pause(name, action === 'pause');
      return known
        ? context.json({ name, paused: action === 'pause' })
        : problem(404, `there is no subscription "${name}"`);
    });
  }
  return app;
}

const house: Actor = { name: 'admin', role: 'admin', tenant: everyTenant };

function addCommand(app: Hono, command: Command, ports: ConsolePorts): void {
  const [, path] = command.route.split(' ') as [string, string];
  const tooLarge = () => problem(413, `the body is over ${command.maxBodyBytes} bytes`);
  app.post(path, bodyLimit({ maxSize: command.maxBodyBytes, onError: tooLarge }), async (context) => {
    if (command.authentication === 'token') {
      const refused = await requireToken(context, ports.adminToken, async () => {});
      if (refused) return refused;
    }
    const request = { headers: context.req.raw.headers, body: await context.req.text(), params: context.req.param() };
    return context.json((await runCommand(command, request, house, ports.system, ports)) as object, 201);
  });
}

async function requireToken(context: Context, token: string, next: () => Promise<void>): Promise<Response | undefined> {
  const given = /^Bearer (.+)$/.exec(context.req.header('authorization') ?? '')?.[1] ?? '';
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  if (token === '' || a.length !== b.length || !timingSafeEqual(a, b)) {
    return problem(401, 'this needs a token; send "Authorization: Bearer TOKEN"');
  }
  await next();
  return undefined;
}
