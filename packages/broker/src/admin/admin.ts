import type { Broker } from '../broker.ts';
import { BrokerError } from '../broker-error.ts';
import { decoded } from '../wire/routes.ts';
import { explain } from './explain.ts';
import { viewOf } from './subscription-view.ts';

const subscription = /^\/admin\/(projects\/[^/]+\/subscriptions\/[^/:]+)(?::(pause|resume))?$/;
const message = /^\/admin\/messages\/([^/]+)$/;

export function isAdmin(path: string): boolean {
  return path.startsWith('/admin/');
}

/**
 * What is not of Pub/Sub: how subscriptions stand, what became of a message, and stopping a subscription for a while.
 *
 *   GET  /admin/subscriptions                                 {"subscriptions": [SubscriptionView]}
 *   GET  /admin/projects/P/subscriptions/S                    SubscriptionView
 *   POST /admin/projects/P/subscriptions/S:pause, :resume     SubscriptionView
 *   GET  /admin/messages/MESSAGE_ID                           Explanation
 *
 * @throws BrokerError
 */
export async function admin(broker: Broker, method: string, path: string): Promise<unknown> {
  if (method === 'GET' && path === '/admin/subscriptions') {
    const all = broker.subscriptions.toSorted((a, b) => (a.config.name < b.config.name ? -1 : 1));
    return { subscriptions: all.map((each) => viewOf(broker, each)) };
  }
  const [, messageId] = message.exec(path) ?? [];
  if (method === 'GET' && messageId !== undefined) return explain(broker, messageId);
  const [, name, action] = subscription.exec(path) ?? [];
  if (name !== undefined && method === (action === undefined ? 'GET' : 'POST')) {
    const full = decoded(name);
    if (action !== undefined) await broker.pause(full, action === 'pause');
    return viewOf(broker, broker.subscription(full));
  }
  throw new BrokerError('NOT_FOUND', `there is nothing at ${method} ${path}`);
}
