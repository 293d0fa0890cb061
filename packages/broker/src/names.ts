import { BrokerError } from './broker-error.ts';

/** `projects/p/topics/t` → its parts. @throws BrokerError INVALID_ARGUMENT. Source: google.pubsub.v1 Topic.name. */
export function checkResourceName(kind: 'topics' | 'subscriptions' | 'snapshots' | 'schemas', name: string): void {
  const [projects, project, kinds, id, ...rest] = name.split('/');
  const good =
    projects === 'projects' &&
    project &&
    kinds === kind &&
    id !== undefined &&
    rest.length === 0 &&
    /^[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}$/.test(id) &&
    !/^goog/.test(id);
  if (!good) {
    throw new BrokerError(
      'INVALID_ARGUMENT',
      `"${name}" is no name of ${kind}; use projects/PROJECT/${kind}/ID, where ID is a letter, then 2 to 254 of A-Z a-z 0-9 - _ . ~ + %, not beginning with "goog"`,
    );
  }
}

export function shortName(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
