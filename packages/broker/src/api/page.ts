import { badRequest } from '../broker-error.ts';

/** A list's request: so many at a time, from where the last page ended. */
export interface PageRequest {
  readonly pageSize?: number;
  readonly pageToken?: string;
}

/** Where none is asked for, and the most there is. */
const defaultSize = 100;
const maxSize = 1000;

/**
 * One page of resources in the order of their names. A token holds the last name that was given, so what is made or deleted
 * meanwhile neither doubles nor hides another.
 */
export function pageOf<T>(
  all: readonly T[],
  nameOf: (each: T) => string,
  { pageSize = 0, pageToken = '' }: PageRequest,
): { readonly page: T[]; readonly nextPageToken?: string } {
  if (pageSize < 0) throw badRequest('page_size', `pageSize must not be negative, got ${pageSize}`);
  const size = Math.min(pageSize || defaultSize, maxSize);
  const after = pageToken === '' ? '' : readToken(pageToken);
  const rest = all
    .filter((each) => nameOf(each) > after)
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0));
  const page = rest.slice(0, size);
  const last = page.at(-1);
  if (rest.length <= size || last === undefined) return { page };
  return { page, nextPageToken: Buffer.from(`after ${nameOf(last)}`).toString('base64url') };
}

function readToken(token: string): string {
  const name = /^after (projects\/.+)$/.exec(Buffer.from(token, 'base64url').toString())?.[1];
  if (name === undefined) throw badRequest('page_token', `"${token}" is no page token of this broker; leave it out`);
  return name;
}
