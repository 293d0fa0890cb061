import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { stamp, table } from './paint.ts';
import { dataFolder, dataOption, jsonOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

interface Listed {
  readonly id: string;
  readonly status?: string;
  readonly clientId?: string;
  readonly createdAt?: string;
}

export const cases: Command = {
  summary: 'The workflows of a running system, newest first; cancel one.',
  usage: '[cancel WF-… REASON] [options]',
  maxArguments: 3,
  options: {
    data: dataOption,
    json: jsonOption,
    limit: { type: 'string', value: 'N', description: 'how many (default 50, at most 500)' },
  },
  async run([action, id, reason], options) {
    if (action !== undefined) {
      if (action !== 'cancel') throw new UsageError(`cases: "${action}" is no action; use cancel WF-… REASON`);
      if (!id || !reason) throw new UsageError('cases cancel needs the id of a case and a reason');
      return cancel(await ConsoleClient.connect(dataFolder(options)), id, reason, options.json === true);
    }
    const limit = Number(options.limit ?? 50);
    if (!Number.isInteger(limit) || limit < 1 || limit > 500)
      throw new UsageError(`--limit must be 1 to 500, got "${options.limit}"`);
    const client = await ConsoleClient.connect(dataFolder(options));
    const { workflows } = await client.get<{ workflows: Listed[] }>(`/api/workflows?limit=${limit}`);
    if (options.json) process.stdout.write(`${JSON.stringify({ cases: workflows })}\n`);
    else if (workflows.length === 0) process.stdout.write('no cases yet; open one with `npm run case -- FILE`\n');
    else {
      const rows = workflows.map(({ id, status = '', clientId = '', createdAt }) => [
        id,
        status,
        clientId,
        createdAt ? stamp(Date.parse(createdAt)) : '',
      ]);
      process.stdout.write(`${table([['CASE', 'STATUS', 'CLIENT', 'OPENED'], ...rows])}\n`);
    }
    return 0;
  },
};

async function cancel(client: ConsoleClient, id: string, reason: string, json: boolean): Promise<number> {
  const { status, body } = await client.post(
    `/api/workflows/${encodeURIComponent(id)}/cancel`,
    JSON.stringify({ reason }),
  );
  if (status !== 201) throw new UsageError(String(body.detail));
  process.stdout.write(json ? `${JSON.stringify(body)}\n` : `${id} is being cancelled\n`);
  return 0;
}
