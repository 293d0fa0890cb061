import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Answer, problem, type Route } from './http-server.ts';

const samples = fileURLToPath(new URL('../samples/', import.meta.url));
const path = /^\/bank\/accounts\/([^/]+)\/statements$/;

let accounts: Promise<ReadonlyMap<string, string>> | undefined;

/**
 * The bank's API: the sample statement of an account, as its file has it. `from` and `to` must be dates and are not
 * heeded further: each sample has the one period it is about.
 */
export function bankRoute(): Route {
  return {
    target: 'bank',
    method: 'GET',
    path,
    maxBytes: 0,
    async answer({ url }) {
      const accountId = decoded(path.exec(url.pathname)![1]!);
      for (const bound of ['from', 'to']) {
        if (!/^\d{4}-\d{2}-\d{2}$/.test(url.searchParams.get(bound) ?? '')) {
          return problem(400, 'Bad request', `Query parameter ${bound} must be a date, YYYY-MM-DD`);
        }
      }
      accounts ??= accountFiles();
      const file = (await accounts).get(accountId);
      if (!file) return problem(404, 'Unknown account', `The sandbox bank has no account ${accountId}: see samples/`);
      return { status: 200, type: 'application/json', body: createReadStream(file) } satisfies Answer;
    },
  };
}

/** The sample file of each account. Reads only the head of each: one sample has 5,000 lines. */
async function accountFiles(): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(samples);
  const statements = names.filter(
    (name) => name.endsWith('.json') && !name.endsWith('.expected.json') && name !== 'sample-case.json',
  );
  const found = await Promise.all(
    statements.map(async (name) => [accountIdIn(await head(join(samples, name))), join(samples, name)] as const),
  );
  return new Map(found.filter((entry): entry is [string, string] => entry[0] !== undefined));
}

async function head(file: string): Promise<string> {
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, 0);
  return buffer.toString('utf8', 0, bytesRead);
}

function accountIdIn(text: string): string | undefined {
  const literal = /"accountId"\s*:\s*("(?:[^"\\]|\\.)*")/.exec(text)?.[1];
  return literal === undefined ? undefined : (JSON.parse(literal) as string);
}

/** Malformed escapes are taken as they are: no account is called so. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
