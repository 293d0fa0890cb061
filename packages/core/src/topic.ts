import type { z } from 'zod';
import { checkName } from './name.ts';

/** A named, schema-bound stream of one event type. */
export interface Topic<T = unknown> {
  readonly name: string;
  /** Version of the schema; an event of a newer one is retried later, never refused. Default 1. */
  readonly version: number;
  readonly schema: z.ZodType<T>;
  /** Takes any payload, also what was published by others and is no event of ours. Default false. */
  readonly raw: boolean;
}

/** @throws DormouseError `config.name` */
export function topic<T>(
  name: string,
  options: { readonly schema: z.ZodType<T>; readonly version?: number; readonly raw?: boolean },
): Topic<T> {
  checkName('topic', name);
  return { name, version: options.version ?? 1, schema: options.schema, raw: options.raw ?? false };
}

/** Data as the topic's schema gives it back, or what is wrong with it, in one line. */
export function checkData<T>(
  { schema }: Topic<T>,
  data: unknown,
): { readonly data: T } | { readonly problems: string } {
  const checked = schema.safeParse(data);
  if (checked.success) return { data: checked.data };
  const problems = checked.error.issues.map(({ path, message }) => `${path.join('.') || 'data'}: ${message}`);
  return { problems: problems.join('; ') };
}
