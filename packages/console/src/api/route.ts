import type { Actor, Role } from '@dormouse/core';
import type { Context } from 'hono';
import { z } from 'zod';
import { Refusal } from './problem.ts';

/** Who may ask: anyone, a token of at least this role, or the house's own. */
export type Access = 'anyone' | Role | 'house';

export interface Answer {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Other forms the answer may take, by their media type. */
  readonly types?: readonly string[];
}

/** One operation of the API, as it is served and as it is described. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** `/api/workflows/:id` */
  readonly path: `/${string}`;
  /** What clients call it: the operation's id. */
  readonly name: string;
  readonly summary: string;
  readonly access: Access;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Default 1,000,000. */
  readonly maxBodyBytes?: number;
  /** It takes an Idempotency-Key. */
  readonly repeatable?: boolean;
  /** What it answers where it refuses nothing, by status. */
  readonly answers: Readonly<Record<number, Answer>>;
  readonly handle: (asked: Asked) => Promise<Response> | Response;
}

/** A request that may be answered. */
export interface Asked<Q = Record<string, never>, B = undefined> {
  /** Without a token, as on routes for anyone: a client of no tenant. */
  readonly actor: Actor;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Q;
  readonly body: B;
  readonly context: Context;
}

type Typed<Q extends z.ZodObject, B extends z.ZodType> = Omit<Route, 'query' | 'body' | 'handle'> & {
  readonly query?: Q;
  readonly body?: B;
  readonly handle: (asked: Asked<z.output<Q>, z.output<B>>) => Promise<Response> | Response;
};

/** Declares an operation; its query and body reach the handler checked. */
export function route<Q extends z.ZodObject = z.ZodObject, B extends z.ZodType = z.ZodUndefined>({
  handle,
  ...declared
}: Typed<Q, B>): Route {
  return {
    ...declared,
    async handle(asked) {
      const { req } = asked.context;
      const query = declared.query ? checked(declared.query, req.query(), 'the query is malformed') : {};
      const body = declared.body
        ? checked(declared.body, jsonOf(await req.text()), 'the input is malformed')
        : undefined;
      return handle({ ...asked, query, body } as Asked<z.output<Q>, z.output<B>>);
    },
  };
}

/** A page of a listing. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(50).meta({ description: 'how many' }),
  cursor: z.string().optional().meta({ description: 'where the page before ended' }),
});

function checked<T extends z.ZodType>(schema: T, value: unknown, otherwise: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  throw new Refusal(400, otherwise, { problems });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, 'the input is malformed', { problems: [{ path: '', message: (error as Error).message }] });
  }
}
