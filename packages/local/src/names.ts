/** Of all that the host keeps in its broker. */
export const project = 'dormouse';

export function subscriptionName(subscription: string): string {
  return `projects/${project}/subscriptions/${subscription}`;
}

export function topicName(topic: string): string {
  return `projects/${project}/topics/${topic}`;
}

const serviceDomain = '.service.localhost';

/** Where a service's pushes go. Never resolved by name: the dispatcher hands them to the service's instances. */
export function endpointOf(service: string): string {
  return `http://${service}${serviceDomain}/pubsub-push`;
}

/** Of whatever service, also one that is gone. */
export function isOfService(endpoint: string): boolean {
  return new URL(endpoint).hostname.endsWith(serviceDomain);
}
