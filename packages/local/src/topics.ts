import type { Broker } from '@dormouse/broker';

export interface TopicStatus {
  readonly name: string;
  readonly subscriptions: readonly {
    readonly name: string;
    readonly backlog: number;
    readonly paused: boolean;
    readonly ordered: boolean;
    readonly undeclared: boolean;
  }[];
}

/** The topics of a broker and how their subscriptions stand, by the names that the system gave them. */
export function topicsOf(broker: Broker, isUndeclared: (subscription: string) => boolean): TopicStatus[] {
  const short = (name: string) => name.slice(name.lastIndexOf('/') + 1);
  return broker.topics.map(({ name }) => ({
    name: short(name),
    subscriptions: broker.subscriptions
      .filter(({ config }) => config.topic === name)
      .map((subscription) => ({
        name: short(subscription.config.name),
        backlog: subscription.backlog(),
        paused: subscription.config.paused ?? false,
        ordered: subscription.config.enableMessageOrdering ?? false,
        undeclared: isUndeclared(short(subscription.config.name)),
      })),
  }));
}
