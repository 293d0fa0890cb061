import { DormouseError } from './errors.ts';

/**
 * Names end up in Pub/Sub resource names, file names and URLs. Source: google.pubsub.v1 (a letter first, 3 to 255 of
 * `A-Za-z0-9-_.~+%`, not "goog"); we allow the part of it that needs no escaping anywhere.
 */
export function checkName(what: string, name: string): void {
  if (!/^[A-Za-z][A-Za-z0-9._-]{2,99}$/.test(name) || /^goog/i.test(name)) {
    const rule = 'a letter, then 2 to 99 of A-Z a-z 0-9 . _ -, not beginning with "goog"';
    throw new DormouseError('config.name', `${what} "${name}" is not a name; use ${rule}`);
  }
}

/** A service's name ends at the first dot of its subscriptions' names, and names a socket: no dot, at most 40 letters. */
export function checkServiceName(name: string): void {
  checkName('service', name);
  if (name.includes('.') || name.length > 40) {
    throw new DormouseError('config.name', `service "${name}" is not a name; use at most 40 letters, and no dot`);
  }
}
