import { randomBytes } from 'node:crypto';
import type { Broker } from '../broker.ts';
import { BrokerError, badRequest } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';

interface Policy {
  readonly etag?: string;
  readonly version?: number;
  readonly bindings?: readonly unknown[];
}

/** What Google answers where no policy was ever set. */
const none: Policy = { etag: 'ACAB' };

/**
 * google.iam.v1.IAMPolicy: policies are kept and given back, and change nothing about who may do what here: whoever reaches
 * the broker may do everything, and `testIamPermissions` says so.
 */
export function policies(broker: Broker) {
  const check = (resource: string) => {
    const kind = /^projects\/[^/]+\/(\w+)\/[^/]+$/.exec(resource)?.[1];
    if (kind === 'topics') broker.topic(resource);
    else if (kind === 'subscriptions') broker.subscription(resource);
    else if (kind === 'snapshots') broker.snapshots.get(resource);
    else if (kind === 'schemas') broker.schemas.place(resource);
    else throw badRequest('resource', `"${resource}" names no topic, subscription, snapshot or schema`);
  };
  return {
    async getIamPolicy({ resource = '' }): Promise<Json> {
      check(resource);
      return { ...(broker.policies.get(resource) ?? none) };
    },

    async setIamPolicy({ resource = '', policy = {} }: { resource?: string; policy?: Policy }): Promise<Json> {
      check(resource);
      const etag = randomBytes(9).toString('base64');
      return broker.policies.set(resource, (kept) => {
        const { etag: current } = (kept as Policy | undefined) ?? none;
        if (policy.etag && policy.etag !== current) {
          throw new BrokerError(
            'ABORTED',
            `the policy of "${resource}" was changed by another; read it again, then set it`,
          );
        }
        return { version: 1, ...policy, etag };
      });
    },

    /** Of a resource that is not there: none, and no error. */
    async testIamPermissions({ resource = '', permissions = [] as readonly string[] }): Promise<Json> {
      for (const permission of permissions) {
        if (permission.includes('*'))
          throw badRequest('permissions', `"${permission}": wildcards are not allowed here`);
      }
      try {
        check(resource);
      } catch (error) {
        if ((error as BrokerError).status === 'NOT_FOUND') return {};
        throw error;
      }
      return { permissions };
    },
  };
}
