import { sha256 } from '@dormouse/core';

/**
 * A name as Google takes it: small letters, digits, hyphens, a letter first. What is too long is cut, and told apart by a hash.
 */
export function googleName(most: number, ...parts: readonly string[]): string {
  const name = parts
    .join('-')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return name.length <= most ? name : `${name.slice(0, most - 7).replace(/-$/, '')}-${sha256(name).slice(0, 6)}`;
}

/** Source: cloud.google.com/run/docs/triggering/https-request: with the project's number one label of DNS, of 63 letters. */
export function runName(system: string, service: string): string {
  return googleName(49, system, service);
}

/** Source: cloud.google.com/iam/docs/service-accounts-create: 6 to 30 letters; names of ours have three at least. */
export function accountEmail(project: string, system: string, service: string): string {
  return `${googleName(30, system, service)}@${project}.iam.gserviceaccount.com`;
}
