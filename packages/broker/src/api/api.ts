import type { Broker } from '../broker.ts';
import type { Json } from '../wire/json.ts';
import type { Method } from '../wire/wire.ts';
import { delivering } from './delivering.ts';
import { policies } from './policies.ts';
import { schemas } from './schemas.ts';
import { snapshots } from './snapshots.ts';
import { subscriptions } from './subscriptions.ts';
import { topics } from './topics.ts';

/** What a method may know of who calls it. */
export interface Call {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined;
}

/** Takes a request and gives an answer, both in the one form of `readMessage`. @throws BrokerError */
export type Rpc = (request: Json, call: Call) => Promise<Json>;

/**
 * Every method of google.pubsub.v1 and of the IAM mixin that is no stream, over one broker: `createTopic`, `pull`, …
 * What a request may hold is checked by the wire's description; what it means, here.
 */
export class Api {
  readonly broker: Broker;
  readonly #rpcs: Readonly<Record<string, unknown>>;

  constructor(broker: Broker) {
    this.broker = broker;
    this.#rpcs = {
      ...topics(broker),
      ...subscriptions(broker),
      ...delivering(broker),
      ...snapshots(broker),
      ...schemas(broker.schemas),
      ...policies(broker),
    };
  }

  call({ name }: Method, request: Json, call: Call = {}): Promise<Json> {
    const rpc = this.#rpcs[name[0]!.toLowerCase() + name.slice(1)] as Rpc;
    return rpc(request, call);
  }
}
