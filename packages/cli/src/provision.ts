import {
  type Change,
  changesTo,
  type FieldChange,
  type PubsubClient,
  provision as provisionOf,
  undeclaredIn,
} from '@dormouse/core';
import type { GooglePlan } from '@dormouse/gcp';
import type { Command, Options } from './command-line.ts';
import { googleOptions, googlePlan } from './google-plan.ts';
import { GooglePubsub } from './google-pubsub.ts';
import { paint } from './paint.ts';
import { jsonOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const provision: Command = {
  summary: 'Makes the topics and subscriptions of a system on Google Cloud, or brings them to its plan.',
  usage: '--platform gcp --project ID [SYSTEM-FILE] [options]',
  maxArguments: 1,
  options: {
    platform: { type: 'string', value: 'gcp', description: 'where; a local host does it by itself when it starts' },
    ...googleOptions,
    'dry-run': { type: 'boolean', description: 'show what would be done, and do nothing' },
    json: jsonOption,
  },
  async run([file], options) {
    checkComplete(options);
    const plan = await googlePlan(file, options);
    const isDryRun = options['dry-run'] === true;
    using pubsub = GooglePubsub.of(plan.project);
    const [changes, undeclared] = await pubsub.asking(async (client) => [
      await (isDryRun ? changesTo(client, plan) : provisioned(client, plan, options.json === true)),
      await undeclaredIn(client, plan),
    ]);
    if (options.json) {
      process.stdout.write(`${JSON.stringify({ project: plan.project, dryRun: isDryRun, changes, undeclared })}\n`);
    } else {
      if (isDryRun) for (const change of changes) tell(change);
      for (const name of undeclared) process.stdout.write(`${undeclaredText(name, plan)}\n`);
      process.stdout.write(`${sumOf(plan, changes, isDryRun)}\n`);
    }
    return changes.some(({ action }) => action === 'refused') ? 1 : 0;
  },
};

/** @throws UsageError for what a plan can do without, and a subscription cannot */
function checkComplete(options: Options): void {
  const { platform, project = process.env.GOOGLE_CLOUD_PROJECT } = options;
  if (platform === 'local') {
    throw new UsageError(
      'a local host makes its topics and subscriptions by itself when it starts; use --platform gcp',
    );
  }
  if (platform !== 'gcp') throw new UsageError('provision needs a --platform: gcp');
  if (project === undefined) throw new UsageError('provision needs a --project, or GOOGLE_CLOUD_PROJECT');
  const isPlaced = options['project-number'] !== undefined && options.region !== undefined;
  if (options['service-url'] === undefined && !isPlaced) {
    throw new UsageError(
      'provision must know where pushes go: --project-number and --region, for Cloud Run’s own addresses, or --service-url',
    );
  }
}

function provisioned(client: PubsubClient, plan: GooglePlan, json: boolean): Promise<Change[]> {
  return provisionOf(client, plan, json ? undefined : tell);
}

/** As it is done; what is as planned is only counted. */
function tell({ action, kind, name, fields }: Change): void {
  if (action === 'same') return;
  const told = action === 'create' ? [] : fields.map((field) => `\n        ${fieldText(field)}`);
  const word = paint(action === 'create' ? 'green' : action === 'update' ? 'yellow' : 'red', action.padEnd(7));
  process.stdout.write(`${word} ${kind.padEnd(12)}  ${name}${told.join('')}\n`);
}

function fieldText({ field, from, to }: FieldChange): string {
  const text = (value: unknown) => (value === undefined ? 'none' : JSON.stringify(value));
  return `${field}: ${text(from)} -> ${text(to)}`;
}

/** Nobody but a person knows whether it was renamed or removed. */
function undeclaredText(name: string, { project }: GooglePlan): string {
  const remedy = `when nothing waits there, gcloud pubsub subscriptions delete ${name} --project ${project}`;
  return `${paint('yellow', 'left')}    subscription  ${name}\n        the system does not declare it any more, and its service refuses what it brings: ${remedy}`;
}

function sumOf({ project, topics, subscriptions }: GooglePlan, changes: readonly Change[], isDryRun: boolean): string {
  const what = `${topics.length} topics and ${subscriptions.length} subscriptions in ${project}`;
  const words = { create: 'created', update: 'updated', refused: 'refused', same: 'as planned' } as const;
  const counts = Object.entries(words).flatMap(([action, word]) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${isDryRun && action !== 'same' ? `to be ${word}` : word}`];
  });
  const isSame = changes.every(({ action }) => action === 'same');
  return isSame ? `${what} are as planned; nothing was done` : `${what}: ${counts.join(', ')}`;
}
