import { defaultTenant, everyTenant } from './tenant.ts';

/**
 * client: opens, sees and cancels cases. operator: also decides, and sends dead letters back. admin: also gives and
 * takes tokens. Each may what those before it may, within its tenant.
 */
export const roles = ['client', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who gives a command or asks. */
export interface Actor {
  /** For the log: no personal data. */
  readonly name: string;
  readonly role: Role;
  /** What it may see, or `everyTenant`. */
  readonly tenant: string;
}

export function may({ role }: Pick<Actor, 'role'>, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed);
}

/** Whether what is of `owner` is there for this actor. What is not is answered as if it did not exist. */
export function sees({ tenant }: Pick<Actor, 'tenant'>, owner: string | null): boolean {
  return owner !== null && (tenant === everyTenant || tenant === owner);
}

/** Whose the things are that this actor makes. */
export function tenantOfNew({ tenant }: Pick<Actor, 'tenant'>): string {
  return tenant === everyTenant ? defaultTenant : tenant;
}
