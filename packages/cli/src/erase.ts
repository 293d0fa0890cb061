import type { ErasedWorkflow, ErasureProgress } from '@dormouse/core';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { consoleOptions } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const erase: Command = {
  summary: 'Erases the personal data of a client: documents, files, results; for good. The log still verifies.',
  usage: '--client ID --yes [options]',
  maxArguments: 0,
  options: {
    ...consoleOptions,
    client: { type: 'string', value: 'ID', description: 'whose' },
    force: { type: 'boolean', description: 'also of workflows that are not over: what in them needs the data dies' },
    later: {
      type: 'boolean',
      description: 'do not write the database anew now: its pages keep the bytes until this is given again without',
    },
    yes: { type: 'boolean', description: 'yes, for good' },
  },
  async run(_positionals, options) {
    const { client: id } = options;
    if (typeof id !== 'string' || id === '') throw new UsageError('erase needs the id of a client: --client ID');
    if (!options.yes) {
      throw new UsageError(`erase deletes the personal data of client "${id}" for good; say so with --yes`);
    }
    const console = await ConsoleClient.connect(options);
    const path = `/api/clients/${encodeURIComponent(id)}/erase`;
    const asked = { force: options.force === true, later: options.later === true };
    const workflows: ErasedWorkflow[] = [];
    for (let cursor: string | undefined; ; ) {
      const { status, body } = await console.post(path, JSON.stringify({ ...asked, cursor }));
      if (status !== 200) {
        const so = workflows.length > 0 ? `after ${workflows.length} workflows: ` : '';
        throw new UsageError(`${so}${body.detail}${so && '; give the command again to go on'}`);
      }
      const progress = body as unknown as ErasureProgress;
      workflows.push(...progress.workflows);
      cursor = progress.cursor;
      if (cursor === undefined) break;
      if (process.stderr.isTTY) process.stderr.write(`\r${workflows.length} workflows`);
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const sum = (of: 'documents' | 'activities' | 'files') => workflows.reduce((all, each) => all + each[of], 0);
    const [documents, activities, files] = [sum('documents'), sum('activities'), sum('files')];
    if (options.json) {
      process.stdout.write(`${JSON.stringify({ client: id, workflows, documents, activities, files })}\n`);
    } else {
      process.stdout.write(
        documents + activities + files === 0
          ? `nothing personal was left in the ${workflows.length} workflows of client ${id}\n`
          : `client ${id}: ${documents} documents, ${activities} results and ${files} files erased in ${workflows.length} workflows; backups made before still hold them\n`,
      );
    }
    return 0;
  },
};
