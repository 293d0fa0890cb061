import type { Broker } from '@dormouse/broker';
import {
  applyToSubscription,
  type Change,
  differs,
  everyTenant,
  moveLines,
  type Plan,
  type PubsubClient,
  type PushPlan,
  refOf,
  type StateStore,
  type SubscriptionPlan,
  subscriptionChange,
} from '@dormouse/core';
import { pushServiceAccount } from './identity.ts';
import { endpointOf, subscriptionName } from './names.ts';

export function pushPlan(service: string): PushPlan {
  const pushEndpoint = endpointOf(service);
  return { pushEndpoint, oidcToken: { serviceAccountEmail: pushServiceAccount, audience: pushEndpoint } };
}

/**
 * Brings the host's own broker to the plan. What a data directory has from before, an older program or an older declaration,
 * goes over to it where nothing is lost by that. @throws DormouseError `subscription.differs`
 */
export async function provision(client: PubsubClient, broker: Broker, store: StateStore, plan: Plan): Promise<void> {
  const topics = new Set(broker.topics.map(({ name }) => name));
  for (const { name } of plan.topics) if (!topics.has(client.topicName(name))) await client.createTopic(name);
  for (const subscription of plan.subscriptions) {
    const { name, enableMessageOrdering: isOrdered } = subscription;
    // What was held in the order it once had comes as messages now.
    if (!isOrdered) await moveLines(store, name, { name });
    const change = await subscriptionChange(client, subscription);
    if (change.action === 'refused') await replace(client, broker, subscription, change);
    else await applyToSubscription(client, subscription, change);
    await keepOlderPause(broker, store, name);
  }
}

/**
 * Order and filter, which no client can change, the broker's owner changes, also for what waits. What is on another topic, or detached, can be
 * made anew where nothing waits. It stays paused.
 */
async function replace(client: PubsubClient, broker: Broker, plan: SubscriptionPlan, refused: Change): Promise<void> {
  const { name, filter, enableMessageOrdering } = plan;
  const fullName = subscriptionName(name);
  const existing = broker.subscription(fullName);
  const { paused = false } = existing.config;
  const isOwners = refused.fields.every(({ field }) => field === 'filter' || field === 'enableMessageOrdering');
  if (isOwners) await broker.remakeSubscription(fullName, { filter, enableMessageOrdering });
  else if (existing.backlog() === 0) await broker.deleteSubscription(fullName);
  else {
    throw differs(
      [refused],
      `give the handler another \`name\`, start, and \`dormouse subscriptions move ${name} NEW-NAME\``,
    );
  }
  await applyToSubscription(client, plan, await subscriptionChange(client, plan));
  if (paused && !isOwners) await broker.pause(fullName, true);
}

/** Older data directories keep a pause as a document, and its subscription without an endpoint. */
async function keepOlderPause(broker: Broker, store: StateStore, subscription: string): Promise<void> {
  const ref = refOf('paused-subscriptions', subscription);
  const [document] = await store.get([ref]);
  if (document!.data === null) return;
  await broker.pause(subscriptionName(subscription), true);
  const writes = [{ ref, data: null }];
  await store.commit({ tenant: everyTenant, reads: [], writes, entries: [], journal: [], publish: [] });
}
