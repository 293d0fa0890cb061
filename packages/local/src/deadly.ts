import type { PushOptions } from '@dormouse/broker';
import {
  createEndpoint,
  DormouseError,
  deadLetter,
  deliveryOf,
  type EndpointPorts,
  handlerPolicy,
  serviceOf,
} from '@dormouse/core';
import type { Manifest } from './manifest.ts';

/**
 * What becomes of a message of which every process dies: what its handler would have got had it thrown a permanent error,
 * with its dead letter, journal and event. No service's code is run for it.
 */
export function settleDeadly(
  { services, topics }: Pick<Manifest, 'services' | 'topics'>,
  ports: Omit<EndpointPorts, 'authenticate'>,
): NonNullable<PushOptions['onDeadly']> {
  return async (subscription, { message, attempt }, reason) => {
    const delivery = deliveryOf(subscription, message);
    const { subscription: name } = delivery;
    const service = services.find((each) => each.name === serviceOf(name));
    const plan = service?.subscriptions.find((each) => each.name === name);
    if (!service || !plan?.dormouse) return false;
    const version = topics.find((each) => each.name === plan.topic)?.version ?? 1;
    const refusing = {
      name,
      // As it came: whether it fits its schema is no question any more.
      topic: { ...deadLetter, name: plan.topic, version },
      handler: async () => {
        throw new DormouseError('delivery.deadly', `its process died ${attempt} times, the last time alone: ${reason}`);
      },
      ackDeadlineMs: plan.ackDeadlineMs,
      retry: handlerPolicy,
      order: plan.order,
    };
    const endpoint = createEndpoint(
      { name: service.name, subscriptions: [refusing], limits: service.limits },
      { ...ports, authenticate: async () => {} },
    );
    await endpoint.deliver(delivery);
    return true;
  };
}
