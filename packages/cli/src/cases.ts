import { defaultTenant } from '@dormouse/core';
import type { Command, Options } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { stamp, table } from './paint.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

interface Listed {
  readonly id: string;
  readonly status?: string;
  readonly clientId?: string;
  readonly createdAt?: string;
  readonly tenant?: string;
}

export const cases: Command = {
  summary: 'The workflows of a running system, newest first; cancel one, decide on an escalated one.',
  usage: '[cancel WF-… REASON | decide WF-… --accept REASON | decide WF-… --close REASON] [options]',
  maxArguments: 3,
  options: {
    ...consoleOptions,
    accept: {
      type: 'string',
      value: 'REASON',
      description: 'decide: its outcome so far is taken; reviewed, then closed',
    },
    close: { type: 'string', value: 'REASON', description: 'decide: closed as it is, without another look' },
    limit: { type: 'string', value: 'N', description: 'how many (default 50, at most 500)' },
  },
  async run([action, id, reason], options) {
    if (action !== undefined) {
      const { path, body, done } = orderOf(action, id, reason, options);
      const client = await ConsoleClient.connect(options);
      const answer = await client.post(`/api/workflows/${encodeURIComponent(id!)}/${path}`, JSON.stringify(body));
      if (answer.status !== 201) throw new UsageError(String(answer.body.detail));
      process.stdout.write(options.json ? `${JSON.stringify(answer.body)}\n` : `${id} ${done}\n`);
      return 0;
    }
    const limit = Number(options.limit ?? 50);
    if (!Number.isInteger(limit) || limit < 1 || limit > 500)
      throw new UsageError(`--limit must be 1 to 500, got "${options.limit}"`);
    const client = await ConsoleClient.connect(options);
    const { workflows } = await client.get<{ workflows: Listed[] }>(`/api/workflows?limit=${limit}`);
    if (options.json) process.stdout.write(`${JSON.stringify({ cases: workflows })}\n`);
    else if (workflows.length === 0) process.stdout.write('no cases yet; open one with `npm run case -- FILE`\n');
    else {
      const tenants = new Set(workflows.map(({ tenant }) => tenant ?? defaultTenant));
      // Where there is but the default one, nobody need read of tenants.
      const shown = tenants.size > 1 || !tenants.has(defaultTenant);
      const rows = workflows.map(({ id, status = '', clientId = '', createdAt, tenant = '' }) => [
        id,
        status,
        ...(shown ? [tenant] : []),
        clientId,
        createdAt ? stamp(Date.parse(createdAt)) : '',
      ]);
      const heads = ['CASE', 'STATUS', ...(shown ? ['TENANT'] : []), 'CLIENT', 'OPENED'];
      process.stdout.write(`${table([heads, ...rows])}\n`);
    }
    return 0;
  },
};

interface Order {
  readonly path: 'cancel' | 'decision';
  readonly body: unknown;
  readonly done: string;
}

/** What is to be done with a case. @throws UsageError */
function orderOf(action: string, id: string | undefined, reason: string | undefined, options: Options): Order {
  const { accept, close } = options as { readonly accept?: string; readonly close?: string };
  if (action === 'cancel') {
    if (!id || !reason) throw new UsageError('cases cancel needs the id of a case and a reason');
    return { path: 'cancel', body: { reason }, done: 'is being cancelled' };
  }
  if (action !== 'decide')
    throw new UsageError(`cases: "${action}" is no action; use cancel WF-… REASON, or decide WF-… --accept REASON`);
  if (!id || !(accept ?? close) || (accept && close))
    throw new UsageError('cases decide needs the id of a case, and either --accept REASON or --close REASON');
  return accept
    ? { path: 'decision', body: { decision: 'accept', reason: accept }, done: 'is accepted as it stands, and closes' }
    : { path: 'decision', body: { decision: 'close', reason: close }, done: 'is being closed' };
}
