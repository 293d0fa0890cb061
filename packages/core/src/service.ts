import { type Duration, durationMs } from './duration.ts';
import type { Envelope } from './envelope.ts';
import { DormouseError } from './errors.ts';
import { handlerPolicy, type RetryOptions, type RetryPolicy, retryPolicy } from './failure.ts';
import { checkName, checkServiceName } from './name.ts';
import { type Order, type PoisonPolicy, poisonPolicies } from './order.ts';
import type { Step } from './step.ts';
import type { Topic } from './topic.ts';

export type Handler<T> = (event: Envelope<T>, step: Step) => Promise<void>;

export interface SubscriptionOptions {
  /** Last part of the subscription's name, `<service>.<name>`. Default: the topic's name. */
  readonly name?: string;
  /** How long one delivery may take, handler and commit. Default 600s; 10s to 600s. Source: google.pubsub.v1 ack_deadline_seconds. */
  readonly ackDeadline?: Duration;
  /** When a handler that threw runs again. Default: 5 attempts, 10s to 600s. Failed activities have a policy of their own. */
  readonly retry?: RetryOptions;
  /**
   * `workflow`: the events about one workflow come one at a time, in the order in which they were committed, also after a
   * failure: while one waits to be tried again, those behind it are held. Default: as they come. Pub/Sub lets nobody change
   * this of a subscription that exists.
   */
  readonly order?: 'workflow';
  /** What becomes of those behind one that failed for good. Needs `order`. Default `park-key`. */
  readonly poison?: PoisonPolicy;
}

/** A named durable reader of one topic for one handler. */
export interface Subscription<T = unknown> {
  readonly name: string;
  readonly topic: Topic<T>;
  readonly handler: Handler<T>;
  readonly ackDeadlineMs: number;
  readonly retry: RetryPolicy;
  /** Undefined: as they come. */
  readonly order: Order | undefined;
}

/** A deployable that sleeps. */
export interface Service {
  readonly name: string;
  readonly subscriptions: readonly Subscription[];
  readonly limits: ServiceLimits;
}

export interface ServiceLimits {
  /** Deliveries one instance takes at a time. Default 16. */
  readonly concurrency: number;
  /** Default 4. */
  readonly maxInstances: number;
}

type Declared<T> = { readonly topic: Topic<T>; readonly handler: Handler<T>; readonly options: SubscriptionOptions };

/** Declares that a service runs `handler` for every event of `topic`. */
export function on<T>(topic: Topic<T>, handler: Handler<T>, options: SubscriptionOptions = {}): Declared<unknown> {
  return { topic, handler, options } as Declared<unknown>;
}

/** @throws DormouseError `config.name`, `config.duplicate`, `config.setting`, `config.duration` */
export function service(
  name: string,
  handlers: readonly Declared<unknown>[],
  limits: Partial<ServiceLimits> = {},
): Service {
  checkServiceName(name);
  const subscriptions = handlers.map(({ topic, handler, options }): Subscription => {
    const fullName = `${name}.${options.name ?? topic.name}`;
    checkName('subscription', fullName);
    return { name: fullName, topic, handler, ...subscriptionPolicy(fullName, options) };
  });
  const names = new Set<string>();
  for (const subscription of subscriptions) {
    if (names.has(subscription.name)) {
      throw new DormouseError(
        'config.duplicate',
        `service "${name}" declares subscription "${subscription.name}" twice; give one of them a \`name\``,
      );
    }
    names.add(subscription.name);
  }
  const { concurrency = 16, maxInstances = 4 } = limits;
  for (const [key, value] of Object.entries({ concurrency, maxInstances })) {
    if (!Number.isInteger(value) || value < 1 || value > 1000) {
      throw new DormouseError(
        'config.setting',
        `service "${name}": ${key} must be a whole number from 1 to 1000, got ${value}`,
      );
    }
  }
  return { name, subscriptions, limits: { concurrency, maxInstances } };
}

/** Checks a policy and fills in its defaults. */
export function subscriptionPolicy(
  name: string,
  { ackDeadline = '600s', retry = {}, order, poison }: SubscriptionOptions,
): Pick<Subscription, 'ackDeadlineMs' | 'retry' | 'order'> {
  const ackDeadlineMs = durationMs(ackDeadline, `subscription "${name}": ackDeadline`);
  if (ackDeadlineMs < 10_000 || ackDeadlineMs > 600_000) {
    throw new DormouseError(
      'config.setting',
      `subscription "${name}": ackDeadline must be 10s to 600s, got "${ackDeadline}"`,
    );
  }
  return {
    ackDeadlineMs,
    retry: retryPolicy(`subscription "${name}"`, retry, handlerPolicy),
    order: orderPolicy(name, order, poison),
  };
}

function orderPolicy(name: string, order: unknown, poison: PoisonPolicy | undefined): Order | undefined {
  const refuse = (what: string) => new DormouseError('config.setting', `subscription "${name}": ${what}`);
  if (order !== undefined && order !== 'workflow') throw refuse(`order must be "workflow", got "${order}"`);
  if (poison !== undefined && !poisonPolicies.includes(poison)) {
    throw refuse(`poison must be ${poisonPolicies.map((each) => `"${each}"`).join(' or ')}, got "${poison}"`);
  }
  if (order !== undefined) return { poison: poison ?? 'park-key' };
  if (poison !== undefined) throw refuse('poison is of ordered events; add order: "workflow"');
  return undefined;
}

/** The service that a subscription is of: `intake.workflow.initiate` → `intake`. */
export function serviceOf(subscription: string): string {
  return subscription.slice(0, subscription.indexOf('.'));
}
