import { z } from 'zod';
import type { Answer, Route } from './route.ts';

type Json = Record<string, unknown>;

const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  instance: z.string(),
  code: z.string().optional().meta({ description: 'stable, of docs/errors.md' }),
  problems: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});

const tenantHeader = {
  name: 'Dormouse-Tenant',
  in: 'header',
  description:
    'narrows the house’s token to one tenant: what is seen, and whose it is that is made (default: "default")',
  schema: { type: 'string' },
};
const keyHeader = {
  name: 'Idempotency-Key',
  in: 'header',
  description: 'a string in quotes: the same key and body give the same answer and one effect; another body 422',
  schema: { type: 'string', maxLength: 257 },
};

/** The API described by what serves it. Source: OpenAPI 3.1.1. */
export function openApiOf(system: string, routes: readonly Route[]): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: `${system} on Dormouse`,
      version: '1',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: '`dormouse token create` makes one' } },
      schemas: { Problem: schemaOf(problem, 'output') },
    },
  };
}

function operationOf(route: Route): Json {
  const { name, summary, access, body, answers } = route;
  const parameters = parametersOf(route);
  return {
    operationId: name,
    summary,
    ...(access === 'anyone' ? { security: [] } : { description: `Needs ${needs[access]}.` }),
    'x-dormouse-access': access,
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body, 'input') } } },
    }),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, answerOf(answer)])),
      default: {
        description: 'refused: problem details (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

const needs = {
  client: 'a token',
  operator: 'a token of an operator or admin',
  admin: 'a token of an admin',
  house: 'the house’s token',
};

function parametersOf({ path, query, access, repeatable }: Route): Json[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => {
    return { name, in: 'path', required: true, schema: { type: 'string' } };
  });
  const { properties = {} } = query ? schemaOf(query, 'output') : {};
  const inQuery = Object.entries(properties as Record<string, Json>).map(([name, { description, ...schema }]) => {
    return { name, in: 'query', ...(description !== undefined && { description }), schema };
  });
  const ofTenant = access === 'client' || access === 'operator' || access === 'admin';
  return [...inPath, ...inQuery, ...(ofTenant ? [tenantHeader] : []), ...(repeatable ? [keyHeader] : [])];
}

function answerOf({ description, schema, types = [] }: Answer): Json {
  const forms: [string, Json][] = [
    ...(schema ? [['application/json', { schema: schemaOf(schema, 'output') }] as [string, Json]] : []),
    ...types.map((type): [string, Json] => [type, {}]),
  ];
  return { description, ...(forms.length > 0 && { content: Object.fromEntries(forms) }) };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    unrepresentable: 'any',
  });
  return rest as Json;
}
