import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  type CaseRequest,
  isBareStatement,
  MAX_REQUEST_BYTES,
  type Problem,
  parseCaseRequest,
  readStatement,
  requestForBareStatement,
} from '@dormouse/casework';
import { userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

export type CaseInput =
  | { readonly kind: 'case request' | 'statement'; readonly request: CaseRequest }
  | { readonly problems: readonly Problem[] };

/** Reads a case request, or a bare statement (JSON or CSV) made into one. @throws UsageError where the file cannot be read */
export async function readInput(file: string, currency: string | undefined): Promise<CaseInput> {
  const path = resolve(userFolder(), file);
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_REQUEST_BYTES)
      return {
        problems: [{ path: '', message: `the file has ${size} bytes; at most ${MAX_REQUEST_BYTES} are allowed` }],
      };
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${(error as Error).message}`);
  }
  const request = /\.csv$/i.test(path) ? undefined : asJson(text);
  if (request !== undefined && !isBareStatement(request)) {
    const parsed = parseCaseRequest(request);
    return 'problems' in parsed ? parsed : { kind: 'case request', request: parsed.request };
  }
  const read = readStatement(text, { fileName: path, ...(currency !== undefined && { currency }) });
  return 'problems' in read ? read : { kind: 'statement', request: requestForBareStatement(read.statement) };
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    // The statement reader says where it is malformed.
    return undefined;
  }
}
