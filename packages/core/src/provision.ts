import { canonicalJson } from './canonical-json.ts';
import { DormouseError } from './errors.ts';
import { isOfSystem, type Plan, type SubscriptionPlan } from './plan.ts';
import type { PubsubClient, PushPlan } from './pubsub-client.ts';

/** What provisioning does to one topic or subscription, or would do. */
export interface Change {
  readonly kind: 'topic' | 'subscription';
  readonly name: string;
  /** `same`: it is as planned, and is left alone. `refused`: it differs in what nobody can change. */
  readonly action: 'create' | 'update' | 'same' | 'refused';
  /** What differs; of what is made, what it is made with. */
  readonly fields: readonly FieldChange[];
}

/** A field by its name in google.pubsub.v1's JSON. */
export interface FieldChange {
  readonly field: string;
  /** Undefined where there is none. */
  readonly from?: unknown;
  readonly to?: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/** What nobody can change of a subscription that exists. */
const fixed = ['topic', 'filter', 'enableMessageOrdering', 'detached'];
const changeable = [
  'pushConfig',
  'ackDeadlineSeconds',
  'retryPolicy',
  'deadLetterPolicy',
  'expirationPolicy',
  'messageRetentionDuration',
];

/** As a server means it that leaves a field out. Source: google.pubsub.v1 Subscription. */
const unset: Fields = {
  filter: '',
  enableMessageOrdering: false,
  detached: false,
  pushConfig: {},
  ackDeadlineSeconds: 10,
  expirationPolicy: { ttl: '2678400s' },
  messageRetentionDuration: '604800s',
};

/**
 * Makes the topics and subscriptions of a plan, and brings those that exist to it; what others set beside is left. Again, it does
 * nothing. What the plan does not name stays as it is.
 * @returns what was done to each
 * @throws DormouseError `subscription.differs`, before anything is changed
 */
export async function provision(
  client: PubsubClient,
  plan: Plan,
  onDone: (change: Change) => void = () => {},
): Promise<Change[]> {
  const changes = await changesTo(client, plan);
  const refused = changes.filter(({ action }) => action === 'refused');
  if (refused.length > 0) {
    throw differs(
      refused,
      'where nothing waits there, delete it and provision again; else give its handler another `name`',
    );
  }
  const subscriptions = new Map(plan.subscriptions.map((each) => [each.name, each]));
  for (const change of changes) {
    if (change.kind === 'subscription') await applyToSubscription(client, subscriptions.get(change.name)!, change);
    else if (change.action === 'create') await client.createTopic(change.name);
    onDone(change);
  }
  return changes;
}

/** What `provision` would do, in its order. */
export async function changesTo(client: PubsubClient, { topics, subscriptions }: Plan): Promise<Change[]> {
  const changes: Change[] = [];
  for (const { name } of topics) changes.push(await topicChange(client, name));
  for (const subscription of subscriptions) changes.push(await subscriptionChange(client, subscription));
  return changes;
}

/**
 * Subscriptions that the system declared once, and does not any more: made with a filter as a plan's, and pushed to by the same account. They go on
 * pushing, and what waits there is for a person to look at.
 */
export async function undeclaredIn(client: PubsubClient, { subscriptions }: Plan): Promise<string[]> {
  const declared = new Set(subscriptions.map(({ name }) => name));
  const accounts = new Set(subscriptions.map(({ pushConfig }) => pushConfig.oidcToken?.serviceAccountEmail));
  const undeclared: string[] = [];
  for await (const { name: fullName, filter, pushConfig } of client.listSubscriptions()) {
    const name = String(fullName).slice(String(fullName).lastIndexOf('/') + 1);
    const { oidcToken } = (pushConfig ?? {}) as PushPlan;
    const isOurs = isOfSystem(name, filter as string) && accounts.has(oidcToken?.serviceAccountEmail);
    if (isOurs && !declared.has(name)) undeclared.push(name);
  }
  return undeclared;
}

async function topicChange(client: PubsubClient, name: string): Promise<Change> {
  const found = await client.getTopic(name);
  return { kind: 'topic', name, action: found ? 'same' : 'create', fields: [] };
}

export async function subscriptionChange(client: PubsubClient, subscription: SubscriptionPlan): Promise<Change> {
  const { name } = subscription;
  const planned = wireOf(client, subscription);
  const found = await client.getSubscription(name);
  const compared = [...fixed, ...changeable].map(
    (field): FieldChange => ({
      field,
      from: found && comparable({ ...unset, ...found }, field),
      to: comparable({ ...unset, ...planned }, field),
    }),
  );
  const fields = compared.filter(({ from, to }) => canonicalJson([from ?? null]) !== canonicalJson([to ?? null]));
  if (!found) return { kind: 'subscription', name, action: 'create', fields };
  const unchangeable = fields.filter(({ field }) => fixed.includes(field));
  if (unchangeable.length > 0) return { kind: 'subscription', name, action: 'refused', fields: unchangeable };
  return { kind: 'subscription', name, action: fields.length > 0 ? 'update' : 'same', fields };
}

/** Of a change that is not refused: does what is to be done, which may be nothing. */
export async function applyToSubscription(
  client: PubsubClient,
  subscription: SubscriptionPlan,
  change: Change,
): Promise<void> {
  const { name } = subscription;
  const planned = wireOf(client, subscription);
  if (change.action === 'create' && !(await client.createSubscription(name, planned))) {
    const found = await subscriptionChange(client, subscription);
    if (found.action === 'refused') throw differs([found], 'it was made meanwhile by another; provision again');
    await applyToSubscription(client, subscription, found);
  }
  if (change.action === 'update') {
    await client.updateSubscription(
      name,
      planned,
      change.fields.map(({ field }) => field),
    );
  }
}

export function differs(refused: readonly Change[], remedy: string): DormouseError {
  const told = refused.map(({ name, fields }) => `subscription "${name}" exists ${fields.map(asItIs).join(' and ')}`);
  return new DormouseError('subscription.differs', `${told.join(', ')}, which nobody can change; ${remedy}`);
}

function asItIs({ field, from }: FieldChange): string {
  if (field === 'enableMessageOrdering') return `${from ? 'with' : 'without'} order`;
  if (field === 'topic') return `on the topic "${from}"`;
  return field === 'filter' ? `with the filter ${JSON.stringify(from)}` : 'detached from its topic';
}

/** As the wire has it. */
function wireOf(client: PubsubClient, { name: _, service, deadLetterPolicy, ...plan }: SubscriptionPlan): Fields {
  return {
    ...plan,
    topic: client.topicName(plan.topic),
    ...(deadLetterPolicy && {
      deadLetterPolicy: {
        deadLetterTopic: client.topicName(deadLetterPolicy.topic),
        maxDeliveryAttempts: deadLetterPolicy.maxDeliveryAttempts,
      },
    }),
  };
}

/** A server fills in the version of the pushes. */
function comparable(fields: Fields, field: string): unknown {
  const value = fields[field];
  if (field !== 'pushConfig') return value;
  const { attributes: _, ...config } = value as Fields;
  return config;
}
