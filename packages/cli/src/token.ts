import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Database } from '@dormouse/broker';
import { type Token, Tokens } from '@dormouse/console';
import {
  type Actor,
  durationMs,
  everyTenant,
  type Role,
  roles,
  systemClock,
  systemRandom,
  tenantName,
  tenantNameRule,
} from '@dormouse/core';
import { DataDirectory, SqliteStateStore } from '@dormouse/local';
import { accessOf } from './access.ts';
import type { Command, Options } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { stamp, table } from './paint.ts';
import { consoleOptions, dataFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

type Made = Token & { readonly token: string };

export const token: Command = {
  summary: 'Who may use the system: create a token, list them, revoke ID.',
  usage: '[list | create --role ROLE | revoke ID] [options]',
  maxArguments: 2,
  options: {
    ...consoleOptions,
    tenant: {
      type: 'string',
      value: 'T',
      description: 'whose it is (default: default); "*" with the role admin: all of them',
    },
    role: { type: 'string', value: 'ROLE', description: `${roles.join(', ')}: each may what those before it may` },
    name: { type: 'string', value: 'NAME', description: 'what it is for' },
    expires: { type: 'string', value: 'DURATION', description: 'how long it is good (default: until it is revoked)' },
  },
  async run([action = 'list', id], options) {
    if (!['list', 'create', 'revoke'].includes(action)) {
      throw new UsageError(`token: "${action}" is no action; use list, create or revoke ID`);
    }
    if (action === 'revoke' && !id)
      throw new UsageError('token revoke needs the ID of a token; `dormouse token` lists them');
    if (action === 'create') check(options);
    const desk = await deskOf(options);
    const print = (value: object, text: string) =>
      process.stdout.write(options.json ? `${JSON.stringify(value)}\n` : text);
    if (action === 'list') {
      const tokens = await desk.list();
      print({ tokens }, tokens.length === 0 ? 'no tokens\n' : `${rows(tokens)}\n`);
    } else if (action === 'revoke') {
      const revoked = await desk.revoke(id!);
      print(revoked, `${revoked.id} is revoked\n`);
    } else {
      const made = await desk.create(options);
      print(made, `${made.token}\n`);
      if (!options.json)
        process.stderr.write('dormouse: this is shown once; keep it where only its user can read it\n');
    }
    return 0;
  },
};

/** What can be done with tokens, whether a host runs or not. */
interface Desk {
  list(): Promise<Token[]>;
  create(options: Options): Promise<Made>;
  revoke(id: string): Promise<Token>;
}

async function deskOf(options: Options): Promise<Desk> {
  // Here the tenant is whose the new one is, not for whom is asked.
  const { tenant: _, ...who } = options;
  const elsewhere = ConsoleClient.elsewhere(who);
  if (elsewhere) return overConsole(elsewhere);
  const folder = dataFolder(options);
  const running = await ConsoleClient.find(folder, accessOf(who));
  return running ? overConsole(running) : onDatabase(folder);
}

function overConsole(client: ConsoleClient): Desk {
  const post = async <T>(path: string, body: object): Promise<T> => {
    const answer = await client.post(path, JSON.stringify(body));
    if (answer.status >= 400) throw new UsageError(String(answer.body.detail));
    return answer.body as T;
  };
  return {
    list: async () => client.all<Token>('/api/tokens', 'tokens'),
    create: ({ tenant, role, name, expires }) => post<Made>('/api/tokens', { tenant, role, name, expires }),
    revoke: (id) => post<Token>(`/api/tokens/${encodeURIComponent(id)}/revoke`, {}),
  };
}

/** Nothing runs: who can write the data directory needs no token. The way back in after the last one was revoked. */
function onDatabase(folder: string): Desk {
  const actor: Actor = { name: 'data directory', role: 'admin', tenant: everyTenant };
  const withTokens = async <T>(work: (tokens: Tokens) => Promise<T>): Promise<T> => {
    if (!existsSync(join(folder, 'dormouse.db'))) {
      throw new UsageError(
        `${folder} is no data directory yet; \`dormouse start\` makes one, or name another with --data DIR`,
      );
    }
    const directory = DataDirectory.open(folder);
    const database = new Database(directory.join('dormouse.db'));
    try {
      const now = systemClock.now;
      const store = new SqliteStateStore({ database, declares: () => false, system: '', audit: false, now });
      return await work(new Tokens({ store, clock: systemClock, random: systemRandom }));
    } finally {
      await database.close();
      directory.close();
    }
  };
  return {
    list: () => withTokens(async (tokens) => (await tokens.list(actor, { limit: 500 })).tokens),
    create: ({ tenant = 'default', role, name, expires }) =>
      withTokens(async (tokens) => {
        const wanted = {
          tenant: String(tenant),
          role: role as Role,
          ...(name !== undefined && { name: String(name) }),
          ...(expires !== undefined && { expiresAt: systemClock.now() + durationMs(expires as '1s') }),
        };
        const made = await tokens.create(wanted, actor.name);
        return { ...made.token, token: made.text };
      }),
    revoke: (id) => withTokens((tokens) => tokens.revoke(id, actor)),
  };
}

/** @throws UsageError */
function check({ tenant, role, expires, name }: Options): void {
  if (!roles.some((each) => each === role)) {
    throw new UsageError(`--role must be ${roles.join(', ')}${role === undefined ? '' : `, got "${role}"`}`);
  }
  if (tenant === everyTenant && role !== 'admin') throw new UsageError('--tenant "*" is for the role admin');
  if (tenant !== undefined && tenant !== everyTenant && !tenantName.test(String(tenant))) {
    throw new UsageError(`--tenant: "${tenant}" is none; use ${tenantNameRule}`);
  }
  if (name === '') throw new UsageError('--name must not be empty');
  if (expires === undefined) return;
  try {
    durationMs(expires as '1s', '--expires');
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function rows(tokens: readonly Token[]): string {
  const state = ({ revokedAt, expiresAt }: Token) => {
    if (revokedAt !== undefined) return `revoked at ${stamp(revokedAt)}`;
    if (expiresAt === undefined) return 'good';
    return `${expiresAt <= Date.now() ? 'expired' : 'good until'} ${stamp(expiresAt)}`;
  };
  const listed = tokens.map((each) => [
    each.id,
    each.tenant,
    each.role,
    each.name ?? '',
    stamp(each.createdAt),
    state(each),
  ]);
  return table([['TOKEN', 'TENANT', 'ROLE', 'NAME', 'MADE', 'STATE'], ...listed]);
}
