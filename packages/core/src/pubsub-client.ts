import type { Message } from './envelope.ts';
import { DormouseError } from './errors.ts';

/** What a subscription is created with. Durations as in the wire's JSON: `"10s"`. */
export interface SubscriptionPlan {
  readonly topic: string;
  readonly ackDeadlineSeconds: number;
  readonly filter: string;
  readonly retryPolicy: { readonly minimumBackoff: string; readonly maximumBackoff: string };
  readonly pushConfig: PushPlan;
  /** Messages with an ordering key come one at a time. */
  readonly enableMessageOrdering: boolean;
  /** Where the wire sends what was brought so often, and never settled. */
  readonly deadLetter?: { readonly topic: string; readonly maxDeliveryAttempts: number };
}

/** Where pushes go. Without an endpoint there are none: messages wait until they are pulled or an endpoint is set. */
export interface PushPlan {
  readonly pushEndpoint?: string;
  readonly oidcToken?: { readonly serviceAccountEmail: string; readonly audience: string };
}

/** Sends a request with a body of JSON to a Pub/Sub server, and answers its status and its body. */
export type PubsubTransport = (
  method: string,
  path: string,
  json: string,
) => Promise<{ readonly status: number; readonly body: string }>;

/** Pub/Sub v1 over REST: publish and provision. Source: google/pubsub/v1/pubsub.proto. */
export class PubsubClient {
  readonly #send: PubsubTransport;
  readonly #project: string;

  /** @param send reaches the server, over the wire or in the same process */
  constructor(send: PubsubTransport, project: string) {
    this.#send = send;
    this.#project = project;
  }

  /** Resolves to the message ids, in order. */
  async publish(topic: string, messages: readonly Omit<Message, 'topic'>[]): Promise<string[]> {
    const answer = await this.#call('POST', `${this.#topic(topic)}:publish`, { messages });
    return answer!.messageIds as string[];
  }

  async ensureTopic(name: string): Promise<void> {
    await this.#call('PUT', this.#topic(name), {}, 409);
  }

  /** Creates it, or brings what may change of it to the plan. @throws DormouseError `subscription.differs` */
  async ensureSubscription(name: string, { deadLetter, ...plan }: SubscriptionPlan): Promise<void> {
    const path = `projects/${this.#project}/subscriptions/${name}`;
    const deadLetterPolicy = deadLetter && {
      deadLetterTopic: this.#topic(deadLetter.topic),
      maxDeliveryAttempts: deadLetter.maxDeliveryAttempts,
    };
    const created = { ...plan, topic: this.#topic(plan.topic), ...(deadLetterPolicy && { deadLetterPolicy }) };
    if (await this.#call('PUT', path, created, 409)) return;
    const { ackDeadlineSeconds, retryPolicy, pushConfig } = plan;
    const existing = await this.#call('PATCH', path, {
      subscription: { ackDeadlineSeconds, retryPolicy, pushConfig, ...(deadLetterPolicy && { deadLetterPolicy }) },
      updateMask: 'ackDeadlineSeconds,retryPolicy,pushConfig,deadLetterPolicy',
    });
    const { enableMessageOrdering: isOrdered = false, filter = '' } = existing!;
    const differs =
      isOrdered !== plan.enableMessageOrdering
        ? `${isOrdered ? 'with' : 'without'} order`
        : filter !== plan.filter
          ? `with the filter ${JSON.stringify(filter)}`
          : undefined;
    if (differs === undefined) return;
    throw new DormouseError(
      'subscription.differs',
      `subscription "${name}" exists ${differs}, which nobody can change; give the handler another \`name\`, start, and \`dormouse subscriptions move ${name} NEW-NAME\``,
    );
  }

  async modifyPushConfig(name: string, pushConfig: PushPlan): Promise<void> {
    await this.#call('POST', `projects/${this.#project}/subscriptions/${name}:modifyPushConfig`, { pushConfig });
  }

  #topic(name: string): string {
    return `projects/${this.#project}/topics/${name}`;
  }

  /** Resolves to undefined where the answer is the status that was tolerated. */
  async #call(
    method: string,
    path: string,
    body: unknown,
    tolerated?: number,
  ): Promise<Record<string, unknown> | undefined> {
    const { status, body: text } = await this.#send(method, `/v1/${path}`, JSON.stringify(body));
    const answer = JSON.parse(text);
    if (status === 200) return answer;
    if (status === tolerated) return undefined;
    throw new Error(`Pub/Sub ${method} ${path}: ${status} ${answer?.error?.message ?? ''}`);
  }
}
