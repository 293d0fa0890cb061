import type { Message } from './envelope.ts';

/** Where pushes go. Without an endpoint there are none: messages wait until they are pulled or an endpoint is set. */
export interface PushPlan {
  readonly pushEndpoint?: string;
  readonly oidcToken?: { readonly serviceAccountEmail: string; readonly audience: string };
}

/** Sends a request with a body of JSON, or none, to a Pub/Sub server, and answers its status and its body. */
export type PubsubTransport = (
  method: string,
  path: string,
  json: string,
) => Promise<{ readonly status: number; readonly body: string }>;

/** A resource as the wire's JSON has it. */
type Fields = Readonly<Record<string, unknown>>;

/** What a Pub/Sub server refused. */
export class PubsubError extends Error {
  override readonly name = 'PubsubError';
  /** Of HTTP. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

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
    const answer = await this.#call('POST', `${this.topicName(topic)}:publish`, { messages });
    return answer!.messageIds as string[];
  }

  /** Undefined where there is none; in the wire's JSON. */
  async getTopic(name: string): Promise<Fields | undefined> {
    return this.#call('GET', this.topicName(name), undefined, 404);
  }

  /** Also where another was faster. */
  async createTopic(name: string): Promise<void> {
    await this.#call('PUT', this.topicName(name), {}, 409);
  }

  /** Undefined where there is none; in the wire's JSON. */
  async getSubscription(name: string): Promise<Fields | undefined> {
    return this.#call('GET', this.#subscription(name), undefined, 404);
  }

  /** All of the project. */
  async *listSubscriptions(): AsyncGenerator<Fields> {
    const path = `projects/${this.#project}/subscriptions`;
    for (let query = ''; ; ) {
      const page = (await this.#call('GET', `${path}${query}`, undefined))!;
      yield* (page.subscriptions ?? []) as Fields[];
      if (!page.nextPageToken) return;
      query = `?pageToken=${encodeURIComponent(page.nextPageToken as string)}`;
    }
  }

  /** @returns false where there is one of that name, made by another, or by a request whose answer was lost */
  async createSubscription(name: string, config: Fields): Promise<boolean> {
    return (await this.#call('PUT', this.#subscription(name), config, 409)) !== undefined;
  }

  /** @param fields what is changed; those of them that the config leaves out are cleared */
  async updateSubscription(name: string, config: Fields, fields: readonly string[]): Promise<void> {
    const subscription = Object.fromEntries(Object.entries(config).filter(([field]) => fields.includes(field)));
    await this.#call('PATCH', this.#subscription(name), { subscription, updateMask: fields.join(',') });
  }

  async modifyPushConfig(name: string, pushConfig: PushPlan): Promise<void> {
    await this.#call('POST', `${this.#subscription(name)}:modifyPushConfig`, { pushConfig });
  }

  /** In full. */
  topicName(name: string): string {
    return `projects/${this.#project}/topics/${name}`;
  }

  #subscription(name: string): string {
    return `projects/${this.#project}/subscriptions/${name}`;
  }

  /** Resolves to undefined where the answer is the status that was tolerated. */
  async #call(method: string, path: string, body: unknown, tolerated?: number): Promise<Fields | undefined> {
    const json = body === undefined ? '' : JSON.stringify(body);
    const { status, body: text } = await this.#send(method, `/v1/${path}`, json);
    if (status === tolerated) return undefined;
    if (status === 200) return JSON.parse(text);
    throw new PubsubError(status, `Pub/Sub ${method} ${path}: ${status} ${messageOf(text)}`);
  }
}

/** In Google's shape; a proxy on the way may answer anything. */
function messageOf(text: string): string {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text.slice(0, 200);
  }
}
