import {
  type Actor,
  type Command,
  causeOf,
  DormouseError,
  everyTenant,
  InvalidInput,
  type Logger,
  may,
  type StepPorts,
  tenantName,
  tenantNameRule,
} from '@dormouse/core';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { type ClientPorts, clientRoutes } from './clients.ts';
import { commandRoutes } from './commands.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { openApiOf } from './openapi.ts';
import { type OperationPorts, operationRoutes } from './operation.ts';
import { problem, Refusal } from './problem.ts';
import { type Access, type Route, route } from './route.ts';
import type { Tokens } from './token.ts';
import { tokenRoutes } from './tokens.ts';
import { type WorkflowPorts, workflowRoutes } from './workflows.ts';

export interface ConsolePorts
  extends StepPorts,
    Omit<OperationPorts, 'store'>,
    ClientPorts,
    Pick<WorkflowPorts, 'watch' | 'stopping'> {
  readonly system: string;
  readonly log: Logger;
  readonly commands: readonly Command[];
  readonly tokens: Tokens;
  /** A token was revoked, and that is durable. */
  readonly onRevoked: (id: string) => void;
  /** Whether this host answers to a name. */
  readonly answersTo: (hostname: string) => boolean;
  /** Path prefixes that others answer, and who may ask there: the sandbox. */
  readonly mounts: ReadonlyMap<string, Mount>;
}

export interface Mount {
  readonly access: Access;
  readonly handle: (request: Request) => Promise<Response>;
}

export interface ServiceHealth {
  readonly name: string;
  /** Why it does not work, where it does not: its messages wait. Times are epoch milliseconds. */
  readonly failing?: {
    readonly failures: number;
    readonly since: number;
    readonly reason: string;
    readonly output: string;
    readonly retryAt?: number;
  };
}

export interface TopicStatus {
  readonly name: string;
  readonly subscriptions: readonly {
    readonly name: string;
    /** This and the next are absent where they are not for the platform to tell. */
    readonly backlog?: number;
    readonly paused?: boolean;
    /** Its events come in the order of their workflow. */
    readonly ordered: boolean;
    /** The system declared it once, and does not any more. */
    readonly undeclared: boolean;
  }[];
}

type Variables = { Variables: { actor: Actor } };

/** On routes for anyone: it sees everything, and the route decides what of it. */
const anyone: Actor = { name: 'anyone', role: 'client', tenant: everyTenant };

/**
 * The HTTP API for clients and operators. Every operation is a route that says who may ask; what is refused is answered
 * with problem details (RFC 9457), and another tenant's things as if they did not exist.
 */
export function createConsole(ports: ConsolePorts): Hono<Variables> {
  const { log, tokens } = ports;
  const app = new Hono<Variables>();
  const refuse = (context: Context, refusal: Refusal) => problem(refusal, context.req.path);

  // A page elsewhere can make a browser call us by a name of its own (DNS rebinding); it cannot forge this header.
  app.use(async (context, next) => {
    const name = new URL(context.req.url).hostname;
    if (!ports.answersTo(name)) {
      throw new Refusal(421, `this host does not answer to the name "${name}"; \`start --names\` lets it`);
    }
    await next();
  });
  app.onError((error, context) => {
    const refusal = refusalOf(error);
    if (refusal.status >= 500) log.error('request.failed', { path: context.req.path, cause: causeOf(error) });
    return refuse(context, refusal);
  });

  const actorOf = async (request: Request): Promise<Actor> => {
    const text = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
    const actor = await tokens.authenticate(text);
    if ('refused' in actor) throw new Refusal(401, actor.refused, { headers: { 'www-authenticate': 'Bearer' } });
    return narrowed(actor, request.headers.get('dormouse-tenant'));
  };
  const admit = async (request: Request, access: Access): Promise<Actor> => {
    if (access === 'anyone') return anyone;
    const actor = await actorOf(request);
    if (access === 'house') {
      if (actor.tenant !== everyTenant) throw new Refusal(403, 'this needs the house’s token, of the tenant "*"');
    } else if (!may(actor, access)) {
      throw new Refusal(403, `this needs the role ${access}; the token's is ${actor.role}`);
    }
    return actor;
  };
  const stillGood = (request: Request) =>
    actorOf(request).then(
      () => true,
      () => false,
    );

  const concerned = new Set<() => void>();
  const onRevocation = (callback: () => void) => {
    concerned.add(callback);
    return () => concerned.delete(callback);
  };
  const onRevoked = (id: string) => {
    ports.onRevoked(id);
    for (const callback of concerned) callback();
  };
  const routes: Route[] = [
    ...operationRoutes(ports),
    ...workflowRoutes({ ...ports, stillGood, onRevocation }),
    ...clientRoutes(ports),
    ...deadLetterRoutes(ports.store),
    ...tokenRoutes({ ...ports, onRevoked }),
    ...commandRoutes(ports),
  ];
  const described = route({
    method: 'GET',
    path: '/openapi.json',
    name: 'describe',
    summary: 'This description: OpenAPI 3.1.',
    access: 'anyone',
    answers: { 200: { description: 'the description' } },
    handle: ({ context }) => {
      description ??= openApiOf(ports.system, [...routes, described]);
      return context.json(description);
    },
  });
  // Written when it is first asked for: a start need not wait for it.
  let description: object | undefined;

  for (const [prefix, { access, handle }] of ports.mounts) {
    for (const path of [prefix, `${prefix}/*`]) {
      app.all(path, async (context) => {
        await admit(context.req.raw, access);
        return handle(context.req.raw);
      });
    }
  }
  for (const each of [...routes, described]) {
    const { maxBodyBytes: maxSize = 1_000_000 } = each;
    const onError = () => {
      throw new Refusal(413, `the body is over ${maxSize} bytes`);
    };
    app.on(
      each.method,
      each.path,
      async (context, next) => {
        context.set('actor', await admit(context.req.raw, each.access));
        context.header('cache-control', 'no-store');
        await next();
      },
      bodyLimit({ maxSize, onError }),
      (context) => {
        const params = context.req.param() as Record<string, string>;
        return each.handle({ actor: context.get('actor'), params, query: {}, body: undefined, context });
      },
    );
  }
  app.notFound(async (context) => {
    const { path, method } = context.req;
    // Who has no token is not told what there is.
    if (path.startsWith('/api/')) await admit(context.req.raw, 'client');
    const methods = [...routes, described].filter((each) => matches(each.path, path)).map((each) => each.method);
    if (methods.length === 0) throw new Refusal(404, `there is nothing at ${path}`);
    const allow = methods.flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : [each])).join(', ');
    throw new Refusal(405, `${method} is not for ${path}; use ${allow}`, { headers: { allow } });
  });
  return app;
}

/** The house's token acts for one tenant where the request says so. */
function narrowed(actor: Actor, tenant: string | null): Actor {
  if (tenant === null || tenant === actor.tenant) return actor;
  if (!tenantName.test(tenant))
    throw new Refusal(400, `Dormouse-Tenant "${tenant}" is no tenant; use ${tenantNameRule}`);
  if (actor.tenant !== everyTenant)
    throw new Refusal(403, `the token is of tenant "${actor.tenant}"; leave out Dormouse-Tenant`);
  return { ...actor, tenant };
}

function matches(route: string, path: string): boolean {
  return new RegExp(`^${route.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`).test(path);
}

const statuses: Readonly<Record<string, number>> = {
  'command.refused': 409,
  'personal.erased': 409,
  'subscription.refused': 409,
  'command.key-reused': 422,
  'query.invalid': 400,
  'query.unindexed': 400,
  'document.missing': 404,
  'document.ref': 404,
  'store.contended': 503,
  'store.unavailable': 503,
};

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof InvalidInput) {
    return new Refusal(400, 'the input is malformed', { code: error.code, problems: error.problems });
  }
  const code = error instanceof DormouseError ? error.code : undefined;
  const status = (code !== undefined && statuses[code]) || 500;
  const headers = status === 503 ? { 'retry-after': '1' } : {};
  return new Refusal(status, untold[code ?? ''] ?? (status === 500 ? internal : (error as Error).message), {
    code,
    headers,
  });
}

const internal = 'this request failed; the log of the host tells why';
/** Where the error's own message is for operators. */
const untold: Readonly<Record<string, string>> = {
  'store.unavailable':
    'the state cannot be read or written now; try again later, and where something was to be done, look first whether it was',
};
