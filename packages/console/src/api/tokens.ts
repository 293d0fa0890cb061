import {
  type Clock,
  defaultTenant,
  durationMs,
  everyTenant,
  type Logger,
  roles,
  tenantName,
  tenantNameRule,
} from '@dormouse/core';
import { z } from 'zod';
import { Refusal } from './problem.ts';
import { pageQuery, type Route, route } from './route.ts';
import type { Tokens } from './token.ts';

const token = z.object({
  id: z.string(),
  tenant: z.string(),
  role: z.enum(roles),
  name: z.string().optional(),
  createdAt: z.number().meta({ description: 'epoch milliseconds, as all times here' }),
  createdBy: z.string(),
  expiresAt: z.number().optional(),
  revokedAt: z.number().optional(),
  revokedBy: z.string().optional(),
});

const wanted = z.object({
  tenant: z
    .string()
    .refine((text) => text === everyTenant || tenantName.test(text), `must be ${tenantNameRule}, or "*" for the house`)
    .optional()
    .meta({ description: 'default: that of the token that asks, or "default" where that is the house’s' }),
  role: z.enum(roles),
  name: z.string().min(1).max(100).optional(),
  expires: z
    .string()
    .refine(isLife, 'must be a duration from 1s to 3650d, as 30d')
    .optional()
    .meta({ description: 'how long it is good, as 30d; default: until it is revoked' }),
});

export function tokenRoutes(ports: {
  tokens: Tokens;
  clock: Pick<Clock, 'now'>;
  log: Logger;
  onRevoked: (id: string) => void;
}): Route[] {
  const { tokens, clock, log, onRevoked } = ports;
  return [
    route({
      method: 'GET',
      path: '/api/tokens',
      name: 'listTokens',
      summary: 'The tokens on record, newest first; never their secrets.',
      access: 'admin',
      query: pageQuery,
      answers: {
        200: { description: 'a page', schema: z.object({ tokens: z.array(token), cursor: z.string().optional() }) },
      },
      handle: async ({ actor, query, context }) => context.json(await tokens.list(actor, query)),
    }),
    route({
      method: 'POST',
      path: '/api/tokens',
      name: 'createToken',
      summary: 'Makes a token. Its text is in this answer and nowhere else.',
      access: 'admin',
      body: wanted,
      answers: { 201: { description: 'the token', schema: token.extend({ token: z.string() }) } },
      async handle({ actor, body: { expires, ...body }, context }) {
        const own = actor.tenant === everyTenant ? defaultTenant : actor.tenant;
        const tenant = body.tenant ?? own;
        if (tenant !== actor.tenant && actor.tenant !== everyTenant) {
          throw new Refusal(403, `a token of tenant "${actor.tenant}" makes tokens of that tenant only`);
        }
        if (tenant === everyTenant && body.role !== 'admin') {
          const message = 'must be admin for the tenant "*": its tokens are the house’s';
          throw new Refusal(400, 'the input is malformed', { problems: [{ path: 'role', message }] });
        }
        const expiresAt = expires === undefined ? undefined : clock.now() + durationMs(expires as `${number}s`);
        const { name, role } = body;
        const wanted = { tenant, role, ...(name !== undefined && { name }), ...(expiresAt && { expiresAt }) };
        const made = await tokens.create(wanted, actor.name);
        log.info('token.created', { id: made.token.id, tenant, role, by: actor.name });
        return context.json({ ...made.token, token: made.text }, 201);
      },
    }),
    route({
      method: 'POST',
      path: '/api/tokens/:id/revoke',
      name: 'revokeToken',
      summary: 'Ends a token, for good and at once.',
      access: 'admin',
      answers: { 200: { description: 'the token as it now is', schema: token } },
      async handle({ actor, params, context }) {
        const revoked = await tokens.revoke(params.id!, actor);
        log.info('token.revoked', { id: revoked.id, tenant: revoked.tenant, by: actor.name });
        onRevoked(revoked.id);
        return context.json(revoked);
      },
    }),
  ];
}

function isLife(text: string): boolean {
  try {
    const ms = durationMs(text as `${number}s`);
    return ms >= 1_000 && ms <= 3650 * 86_400_000;
  } catch {
    // No duration.
    return false;
  }
}
