import { createHash, createHmac, hash } from 'node:crypto';
import type { Random } from './clock.ts';

// Crockford's base 32: no I, L, O, U, so that an id can be read out on the telephone.
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** `WF-20250129-7K3QXM`: the day it was made, in UTC, and 30 random bits; the commit that creates it sees a collision. */
export function workflowId(prefix: string, now: number, random: Random): string {
  const day = new Date(now).toISOString().slice(0, 10).replaceAll('-', '');
  return `${prefix}-${day}-${letters(random.bytes(6))}`;
}

/** 80 random bits, as 16 letters. */
export function randomId(random: Random): string {
  return letters(random.bytes(16));
}

/** The same id for the same parts, for ever: ids of published events, activities, dead letters. 26 letters of SHA-256. */
export function derivedId(...parts: readonly (string | number)[]): string {
  return letters(hash('sha256', JSON.stringify(parts), 'buffer').subarray(0, 26));
}

/** The same randomness for the same parts, a drawing at a time: what a repeated request makes up is the same. */
export function derivedRandom(...parts: readonly (string | number)[]): Random {
  let drawn = 0;
  const draw = () =>
    createHash('sha512')
      .update(JSON.stringify([...parts, drawn++]))
      .digest();
  return {
    fraction: () => draw().readUInt32BE() / 2 ** 32,
    // At most 64: more than any id takes.
    bytes: (count) => draw().subarray(0, count),
  };
}

export function sha256(text: string | Uint8Array): string {
  return hash('sha256', text);
}

/** In hex. The key as text, for whoever keeps it so. */
export function hmacSha256(key: string, content: string | Uint8Array): string {
  return createHmac('sha256', key).update(content).digest('hex');
}

function letters(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += alphabet[byte & 31];
  return text;
}
