import { mailAddress } from '../mail-address.ts';
import { Fields, shown } from '../statement/fields.ts';
import { type Problem, Problems } from '../statement/problems.ts';
import { checkStatement, type Period, readPeriod, type Statement } from '../statement/statement.ts';

/** The largest case request that is read, in bytes of its JSON text. */
export const MAX_REQUEST_BYTES = 10_000_000;

export type Client = { readonly name: string; readonly email: string; readonly phone: string };

/** What the client allowed, and when. Not signed where no scope is given. */
export type Consent = { readonly signedAt?: string; readonly scopes: readonly string[] };

export type Payment = { readonly reference?: string; readonly status?: string };

export type CaseDocument = { readonly kind: string; readonly name: string };

/** Where the statement comes from: the sandbox's bank, an address it is fetched from, or the request itself. */
export type StatementSource =
  | { readonly source: 'sandbox-bank'; readonly accountId: string; readonly period: Period }
  | { readonly url: string }
  | { readonly inline: Statement };

export const sandboxReplies = ['accept', 'reject', 'silent'] as const;
export type SandboxReply = (typeof sandboxReplies)[number];

/** A request to open a case: well-formed, though not necessarily one that intake accepts (`intakeReasons`). */
export type CaseRequest = {
  /** Stays on record for ever, so it is neither a mail address nor a phone number. */
  readonly clientId: string;
  readonly client: Client;
  readonly consent?: Consent;
  readonly payment?: Payment;
  readonly documents: readonly CaseDocument[];
  readonly statement: StatementSource;
  /** How the sandbox's counterparties answer, by merchant. Look up own properties only: a merchant may be "constructor". */
  readonly sandbox?: { readonly replies: Readonly<Record<string, SandboxReply>> };
};

export const requiredScopes = ['fetch_statement', 'dispute_on_behalf'] as const;

/**
 * Checks a request that came from outside and lists all that is malformed. What is merely missing for a case to be taken
 * (consent, a scope, payment, a document) is not malformed; that is for `intakeReasons`. Unknown fields are dropped.
 */
export function parseCaseRequest(
  value: unknown,
): { readonly request: CaseRequest } | { readonly problems: readonly Problem[] } {
  const problems = new Problems();
  const fields = Fields.of(value, '', problems, 'request');
  const request = fields && readRequest(fields, problems);
  return request && !problems.found ? { request } : { problems: problems.list() };
}

/** Why intake rejects a well-formed request; empty where it accepts it. */
export function intakeReasons({ payment, consent, documents }: CaseRequest): string[] {
  const reasons: string[] = [];
  if (payment?.status !== 'paid')
    reasons.push(`payment is ${payment?.status ? shown(payment.status) : 'missing'}: pay before a case is opened`);
  for (const scope of requiredScopes)
    if (!consent?.scopes.includes(scope))
      reasons.push(`consent to "${scope}" is missing: sign a consent with this scope`);
  if (documents.length === 0) reasons.push('no document is given: add at least one, of any kind');
  return reasons;
}

/** A request around a bare statement, for trying things out: the client, consent, payment and document are made up. */
export function requestForBareStatement(statement: Statement): CaseRequest {
  return {
    clientId: 'sandbox-client',
    client: { name: statement.holder, email: 'client@sandbox.example', phone: '+12025550100' },
    consent: { signedAt: '2025-01-01T00:00:00Z', scopes: requiredScopes },
    payment: { reference: 'sandbox-payment', status: 'paid' },
    documents: [{ kind: 'statement', name: `Statement of ${statement.accountId}` }],
    statement: { inline: statement },
  };
}

/** It is part of the reference of a document, where some names are taken by the store. */
export const clientIdPattern = /^(?!\.{1,2}$|__.*__$)[\w.~:-]{1,128}$/;
const clientIdRule = '1 to 128 letters, digits or any of _.~:-, and none of ".", ".." and "__…__"';

function readRequest(fields: Fields, problems: Problems): CaseRequest | undefined {
  const clientId = fields.matching('clientId', clientIdPattern, clientIdRule);
  const client = readClient(fields.object('client'));
  const consent = fields.holds('consent') ? readConsent(fields.object('consent')) : undefined;
  const payment = fields.holds('payment') ? readPayment(fields.object('payment')) : undefined;
  const documents = fields.holds('documents') ? readDocuments(fields) : [];
  const statement = readSource(fields.object('statement'), problems);
  const replies = fields.has('sandbox') ? readReplies(fields.object('sandbox')) : undefined;
  if (!statement) return undefined;
  return {
    clientId,
    client,
    ...(consent ? { consent } : {}),
    ...(payment ? { payment } : {}),
    documents,
    statement,
    ...(replies ? { sandbox: { replies } } : {}),
  };
}

function readClient(client: Fields | undefined): Client {
  return {
    name: client?.text('name') ?? '',
    email: client?.matching('email', mailAddress, 'an email address, name@host') ?? '',
    phone: client?.matching('phone', /^\+[1-9]\d{6,14}$/, 'a phone number as + and 7 to 15 digits (E.164)') ?? '',
  };
}

/** Scopes need a signature; with neither there is no consent, which is for intake to say. */
function readConsent(consent: Fields | undefined): Consent {
  const scopes = consent?.holds('scopes') ? consent.texts('scopes') : [];
  if (!consent || (scopes.length === 0 && !consent.holds('signedAt'))) return { scopes };
  return { signedAt: consent.timestamp('signedAt'), scopes };
}

/** A payment that is made has a reference; one that isn't may have none. */
function readPayment(payment: Fields | undefined): Payment {
  const status = payment?.holds('status') ? payment.text('status') : undefined;
  const hasReference = payment && (status === 'paid' || payment.holds('reference'));
  return {
    ...(hasReference ? { reference: payment.text('reference') } : {}),
    ...(status === undefined ? {} : { status }),
  };
}

function readDocuments(fields: Fields): CaseDocument[] {
  return Array.from(fields.objects('documents'), (document) => ({
    kind: document.text('kind'),
    name: document.text('name'),
  }));
}

function readSource(statement: Fields | undefined, problems: Problems): StatementSource | undefined {
  if (!statement) return undefined;
  const given = (['source', 'url', 'inline'] as const).filter((name) => statement.has(name));
  if (given.length !== 1) {
    const got = given.length === 0 ? 'none' : given.join(' and ');
    problems.add(statement.path, `must be exactly one of source, url or inline, got ${got}`);
    return undefined;
  }
  if (given[0] === 'url') return { url: readUrl(statement) };
  if (given[0] === 'inline') {
    const inline = checkStatement(statement.raw('inline'), problems, { path: `${statement.path}.inline` });
    return inline && { inline };
  }
  const source = statement.oneOf('source', ['sandbox-bank']) ?? 'sandbox-bank';
  return { source, accountId: statement.text('accountId'), period: readPeriod(statement) };
}

/** Never shows the address: its query, and credentials most of all, may be secret. */
function readUrl(statement: Fields): string {
  const text = statement.text('url');
  if (!text) return text;
  const url = URL.parse(text);
  if (!url) statement.refuse('url', 'must be a complete address such as https://bank.example/statement.json');
  else if (url.protocol !== 'http:' && url.protocol !== 'https:')
    statement.refuse('url', `must begin with http: or https:, got ${shown(url.protocol)}`);
  else if (url.username || url.password)
    statement.refuse('url', 'must not hold a user name or password: leave them out');
  return text;
}

function readReplies(sandbox: Fields | undefined): Record<string, SandboxReply> | undefined {
  const replies = sandbox?.has('replies') ? sandbox.object('replies') : undefined;
  if (!replies) return undefined;
  // fromEntries defines its keys: a merchant "__proto__" is one like any other.
  return Object.fromEntries(replies.names.map((name) => [name, replies.oneOf(name, sandboxReplies) ?? 'accept']));
}
