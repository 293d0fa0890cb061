import type { GooglePlan } from '@dormouse/gcp';
import type { Command } from './command-line.ts';
import { googleOptions, googlePlan } from './google-plan.ts';
import { paint, span, table } from './paint.ts';
import { jsonOption } from './settings.ts';

export const plan: Command = {
  summary: 'What a system needs of Google Cloud: topics, subscriptions, services, indexes, permissions.',
  usage: '[SYSTEM-FILE] [options]',
  maxArguments: 1,
  options: {
    ...googleOptions,
    indexes: { type: 'boolean', description: 'only the indexes of Firestore, as a firestore.indexes.json' },
    json: jsonOption,
  },
  async run([file], options) {
    const planned = await googlePlan(file, options);
    if (options.indexes) process.stdout.write(`${JSON.stringify(planned.firestore.indexes, null, 2)}\n`);
    else process.stdout.write(options.json ? `${JSON.stringify(planned)}\n` : textOf(planned));
    return 0;
  },
};

function textOf(plan: GooglePlan): string {
  const { system, project, region, firestore } = plan;
  const sections: [title: string, ...lines: string[]][] = [
    ['Topics', ...topicsOf(plan)],
    ['Subscriptions', subscriptionsOf(plan), ...policiesOf(plan)],
    ['Services on Cloud Run', ...servicesOf(plan)],
    ['Firestore', ...firestoreOf(firestore)],
    [
      'Buckets',
      ...plan.buckets.map(
        ({ name, location }) => `${name} in ${location}: no public access, no versions, no soft delete`,
      ),
    ],
    [
      'Cloud Tasks queues',
      ...plan.queues.map(
        ({ name, location, minBackoff, maxBackoff }) =>
          `${name} in ${location}: tried without end, ${minBackoff} to ${maxBackoff}`,
      ),
    ],
    [
      'Cloud Scheduler',
      ...plan.schedules.map(({ name, schedule, method, url }) => `${name}: ${schedule} UTC, ${method} ${url}`),
    ],
    ['Permissions', ...grantsOf(plan)],
    ['What the declarations do not tell', ...plan.unknown],
  ];
  const body = sections.map(([title, ...lines]) => [paint('bold', title), ...lines.flatMap(indented)].join('\n'));
  return `${system} on Google Cloud, project ${project}, region ${region}\n\n${body.join('\n\n')}\n`;
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `  ${line}`);
}

function topicsOf({ topics, subscriptions }: GooglePlan): string[] {
  const read = new Set(subscriptions.map(({ topic }) => topic));
  return topics.map(({ name }) => (read.has(name) ? name : `${name} (nobody listens)`));
}

function subscriptionsOf({ subscriptions }: GooglePlan): string {
  const rows = subscriptions.map((each) => [
    each.name,
    each.topic,
    `${each.ackDeadlineSeconds}s`,
    each.enableMessageOrdering ? 'by key' : '',
    each.deadLetterPolicy ? `${each.deadLetterPolicy.topic} after ${each.deadLetterPolicy.maxDeliveryAttempts}` : '',
  ]);
  return table([['NAME', 'TOPIC', 'ACK DEADLINE', 'ORDER', 'DEAD LETTERS'], ...rows]);
}

/** What all of them have, in one line each. */
function policiesOf({ subscriptions, caller }: GooglePlan): string[] {
  const [first] = subscriptions;
  if (!first) return [];
  const { minimumBackoff, maximumBackoff } = first.retryPolicy;
  const kept = span(Number.parseInt(first.messageRetentionDuration, 10) * 1000);
  return [
    `each: pushed to /pubsub-push of its service, by a token of ${caller} for that service's URL;`,
    `retried after ${minimumBackoff} to ${maximumBackoff}; messages are kept for ${kept}, it never expires;`,
    'a filter lets through what is addressed to it, or to nobody (`dormouse-to`)',
  ];
}

function servicesOf({ services }: GooglePlan): string[] {
  const rows = services.map(({ name, url, invoker, timeoutSeconds, concurrency, minInstances, maxInstances }) => [
    name,
    url,
    invoker,
    `${timeoutSeconds}s`,
    `${minInstances} to ${maxInstances}`,
    String(concurrency),
  ]);
  const [{ cpu, memory }] = services as [GooglePlan['services'][number]];
  return [
    table([['NAME', 'URL', 'INVOKED BY', 'TIME-OUT', 'INSTANCES', 'CONCURRENCY'], ...rows]),
    `each: ${cpu} CPU, ${memory}, under an account of its own; its environment is in --json`,
  ];
}

function firestoreOf({ database, location, indexes: { indexes, fieldOverrides } }: GooglePlan['firestore']): string[] {
  const composite = indexes.map(({ collectionGroup, fields }): string[] => [
    collectionGroup,
    fields.map(({ fieldPath, order }) => `${fieldPath} ${order.toLowerCase()}`).join(', '),
    'each collection',
  ]);
  const single = fieldOverrides.flatMap(({ collectionGroup, fieldPath, indexes }) =>
    indexes.map(({ order, queryScope }) => [
      collectionGroup,
      `${fieldPath} ${order.toLowerCase()}`,
      queryScope === 'COLLECTION' ? 'each collection' : 'all of that name',
    ]),
  );
  const expiring = fieldOverrides.filter(({ ttl }) => ttl).map(({ collectionGroup }) => collectionGroup);
  return [
    `database ${database} in ${location}, native mode, no point-in-time recovery`,
    table([['INDEX OF', 'FIELDS', 'OF'], ...composite, ...single]),
    `no other field of these collections is indexed; ${expiring.join(', ')} expire by \`expireAt\``,
  ];
}

/** Members who are granted the same are told together. */
function grantsOf({ grants, topics }: GooglePlan): string[] {
  const linesOf = new Map<string, string[]>();
  for (const { member, role, on, because } of grants) {
    const isAllTopics = on.length === topics.length && on[0]!.startsWith('topics/');
    const kind = on[0]!.split('/')[0];
    const where = isAllTopics ? `all ${on.length} topics` : on.length > 2 ? `${on.length} ${kind}` : on.join(', ');
    const name = member.replace(/^serviceAccount:/, '');
    linesOf.set(name, [...(linesOf.get(name) ?? []), `  ${role} on ${where}: ${because}`]);
  }
  const together = Map.groupBy(linesOf, ([, lines]) => lines.join('\n'));
  return [...together].flatMap(([lines, members]) => [members.map(([name]) => name).join('\n'), lines]);
}
