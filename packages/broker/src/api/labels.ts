import { badRequest } from '../broker-error.ts';

const most = 64;
const key = /^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$/u;
const value = /^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$/u;

/** @throws BrokerError. Source: cloud.google.com/pubsub/docs/labels. */
export function checkLabels(labels: Readonly<Record<string, string>> = {}): void {
  const entries = Object.entries(labels);
  if (entries.length > most)
    throw badRequest('labels', `there are ${entries.length} labels; at most ${most} are allowed`);
  for (const [name, text] of entries) {
    if (key.test(name) && value.test(text)) continue;
    throw badRequest(
      'labels',
      `label "${name}": "${text}" is none; keys and values have up to 63 of a-z 0-9 _ -, and a key begins with a letter`,
    );
  }
}
