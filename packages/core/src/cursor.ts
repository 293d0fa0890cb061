import { DormouseError } from './errors.ts';

/** Where a page of a collection ended: when its last document was made, and where that is. For stores that page by both. */
export type PageEnd = readonly [createdAt: number, ref: string];

const maxPageSize = 500;

/** At most 500. @throws DormouseError `query.invalid` */
export function pageSize(limit = 50): number {
  if (Number.isInteger(limit) && limit >= 1) return Math.min(limit, maxPageSize);
  throw new DormouseError('query.invalid', `limit must be a whole number from 1, got ${limit}`);
}

export function writePageCursor(end: PageEnd): string {
  return Buffer.from(JSON.stringify(end)).toString('base64url');
}

/** @throws DormouseError `query.invalid` */
export function readPageCursor(cursor: string): PageEnd {
  try {
    const [createdAt, ref] = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (typeof createdAt === 'number' && typeof ref === 'string') return [createdAt, ref];
  } catch (cause) {
    throw new DormouseError('query.invalid', `"${cursor}" is no cursor of a page`, { cause });
  }
  throw new DormouseError('query.invalid', `"${cursor}" is no cursor of a page`);
}

/** Of a log whose entries are numbered: the number of the last one seen, 0 before the first. @throws DormouseError `query.invalid` */
export function readLogCursor(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw new DormouseError('query.invalid', `"${cursor}" is no cursor of a log`);
}
