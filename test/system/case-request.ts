import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { samples } from './program.ts';

type Json = Record<string, unknown>;

/** A request that is taken, but for what the test says. */
export function caseRequest(changes: Json = {}): Json {
  return { ...JSON.parse(readFileSync(join(samples, 'sample-case.json'), 'utf8')), ...changes };
}

/** A statement of one wrong charge: a merchant charges twice. Small, so that many cases are cheap. */
export function smallStatement(merchant = 'Corner Café'): Json {
  const line = { merchant, description: 'Lunch', amountMinor: 1250, kind: 'charge' };
  return {
    accountId: 'small-1',
    holder: 'Ada Example',
    currency: 'EUR',
    period: { from: '2025-03-01', to: '2025-03-31' },
    lines: [
      { id: 's1', date: '2025-03-03', ...line },
      { id: 's2', date: '2025-03-04', ...line },
    ],
  };
}

/** Writes a request into a folder, for `case FILE`. */
export function requestFile(folder: string, name: string, request: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof request === 'string' ? request : JSON.stringify(request));
  return path;
}
