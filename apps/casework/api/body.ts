import { InvalidInput } from '@dormouse/core';
import * as z from 'zod';
import { parseJson } from '../statement/read-statement.ts';

/** The body of a request, or everything that is wrong with it. @throws InvalidInput */
export function readBody<T>(body: string, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(readJson(body));
  if (parsed.success) return parsed.data;
  throw new InvalidInput(parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
}

/** @throws InvalidInput at the place where it is no JSON */
export function readJson(body: string): unknown {
  const json = parseJson(body);
  if ('problems' in json) throw new InvalidInput(json.problems);
  return json.value;
}

/** What commands answer. */
export const aboutCase = z.object({ workflowId: z.string() });
export const aboutDeadLetter = z.object({ deadLetterId: z.string() });
