import { BrokerError } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';

/** Says no where a policy would have to act that this broker does not know yet: none is taken and then ignored. */
export function notYet(what: string): BrokerError {
  return new BrokerError('UNIMPLEMENTED', `${what} is not implemented by this broker yet`);
}

const ofTopics: Readonly<Record<string, string>> = {
  tags: 'binding tags (tags)',
};

const ofSubscriptions: Readonly<Record<string, string>> = {
  tags: 'binding tags (tags)',
};

/** @throws BrokerError UNIMPLEMENTED */
export function refuseNotYet(kind: 'topic' | 'subscription', { name, ...config }: Json): void {
  const fields = kind === 'topic' ? ofTopics : ofSubscriptions;
  for (const [field, what] of Object.entries(fields)) {
    if (isSet(config[field])) throw notYet(`${kind} "${name}": ${what}`);
  }
}

function isSet(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return Boolean(value);
  return Object.keys(value).length > 0;
}
