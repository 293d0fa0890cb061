/** Whose a document or event is where nobody said. */
export const defaultTenant = 'default';

/** In an actor's place for a tenant: the house, which sees and does everything. No document but a token is of it. */
export const everyTenant = '*';

/** Tenants appear in message attributes, headers and command lines: they need no escaping anywhere. */
export const tenantName = /^[a-z0-9][a-z0-9-]{0,62}$/;

export const tenantNameRule = '1 to 63 of a-z 0-9 -, not beginning with "-"';
