import type { RestApi } from '@dormouse/broker';

/** How a suite reaches a Pub/Sub server: one call for each method, requests and answers in proto-JSON. */
export interface PubsubWire {
  /** `CreateTopic`, …; @throws WireError */
  call(rpc: string, request: Json): Promise<Json>;
}

export type Json = Readonly<Record<string, unknown>>;

/** What a server refuses, the same on both wires. */
export class WireError extends Error {
  override readonly name = 'WireError';
  readonly status: string;
  readonly details: readonly Json[];

  constructor(status: string, message: string, details: readonly Json[] = []) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** The verb, the field of the request that the path begins with, and what follows it. Source: google/pubsub/v1/pubsub.proto. */
const rest: Readonly<Record<string, readonly [verb: string, field: string, rest?: string]>> = {
  CreateTopic: ['PUT', 'name'],
  UpdateTopic: ['PATCH', 'topic.name'],
  Publish: ['POST', 'topic', ':publish'],
  GetTopic: ['GET', 'topic'],
  ListTopics: ['GET', 'project', '/topics'],
  ListTopicSubscriptions: ['GET', 'topic', '/subscriptions'],
  ListTopicSnapshots: ['GET', 'topic', '/snapshots'],
  DeleteTopic: ['DELETE', 'topic'],
  DetachSubscription: ['POST', 'subscription', ':detach'],
  CreateSubscription: ['PUT', 'name'],
  GetSubscription: ['GET', 'subscription'],
  UpdateSubscription: ['PATCH', 'subscription.name'],
  ListSubscriptions: ['GET', 'project', '/subscriptions'],
  DeleteSubscription: ['DELETE', 'subscription'],
  ModifyAckDeadline: ['POST', 'subscription', ':modifyAckDeadline'],
  Acknowledge: ['POST', 'subscription', ':acknowledge'],
  Pull: ['POST', 'subscription', ':pull'],
  ModifyPushConfig: ['POST', 'subscription', ':modifyPushConfig'],
  CreateSnapshot: ['PUT', 'name'],
  GetSnapshot: ['GET', 'snapshot'],
  ListSnapshots: ['GET', 'project', '/snapshots'],
  UpdateSnapshot: ['PATCH', 'snapshot.name'],
  DeleteSnapshot: ['DELETE', 'snapshot'],
  Seek: ['POST', 'subscription', ':seek'],
  CreateSchema: ['POST', 'parent', '/schemas'],
  ListSchemas: ['GET', 'parent', '/schemas'],
  GetSchema: ['GET', 'name'],
  ListSchemaRevisions: ['GET', 'name', ':listRevisions'],
  CommitSchema: ['POST', 'name', ':commit'],
  RollbackSchema: ['POST', 'name', ':rollback'],
  DeleteSchemaRevision: ['DELETE', 'name', ':deleteRevision'],
  DeleteSchema: ['DELETE', 'name'],
  ValidateSchema: ['POST', 'parent', '/schemas:validate'],
  ValidateMessage: ['POST', 'parent', '/schemas:validateMessage'],
  GetIamPolicy: ['GET', 'resource', ':getIamPolicy'],
  SetIamPolicy: ['POST', 'resource', ':setIamPolicy'],
  TestIamPermissions: ['POST', 'resource', ':testIamPermissions'],
};

/** @param url base address, without a slash at its end */
export function overRest(url: string): PubsubWire {
  return byRest((path, init) => fetch(url + path, init));
}

/** As over REST, with nothing between. */
export function inProcess(restApi: RestApi): PubsubWire {
  return byRest(async (url, { method, body }) => {
    const headers = { host: 'localhost', 'content-type': 'application/json' };
    const answer = await restApi({ method, url, headers, body: Buffer.from(body ?? '') });
    return { json: async () => JSON.parse(answer.body) };
  });
}

interface Ask {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

function byRest(ask: (path: string, init: Ask) => Promise<{ json(): Promise<unknown> }>): PubsubWire {
  return {
    async call(rpc, request) {
      const [verb, field, suffix = ''] = rest[rpc]!;
      const [outer, inner] = field.split('.') as [string, string?];
      const named = request[outer] as string | Json;
      const name = inner ? (named as Json)[inner] : named;
      const { [outer]: _named, ...others } = request;
      const body = inner ? { ...others, [outer]: named } : others;
      const { schema, ...beside } = others;
      const inQuery = verb === 'GET' ? others : rpc === 'CreateSchema' ? beside : {};
      const query = `?${new URLSearchParams(inQuery as Record<string, string>)}`;
      const response = await ask(`/v1/${String(name).replaceAll('%', '%25')}${suffix}${query}`, {
        method: verb,
        ...(!['GET', 'DELETE'].includes(verb) && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(rpc === 'CreateSchema' ? schema : body),
        }),
      });
      const answer = (await response.json()) as { error?: { status: string; message: string; details?: Json[] } };
      if (answer.error) throw new WireError(answer.error.status, answer.error.message, answer.error.details);
      return answer as Json;
    },
  };
}
