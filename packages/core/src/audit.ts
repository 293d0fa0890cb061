import { type Envelope, encodeMessage, type Message } from './envelope.ts';
import { derivedId } from './ids.ts';
import type { EntryDraft, JournalDraft } from './log.ts';
import type { Ref } from './state-store.ts';
import { auditLog } from './system-topics.ts';

export type AuditedEntry =
  | { readonly kind: 'log'; readonly seq: number; readonly hash: string; readonly entry: EntryDraft }
  | { readonly kind: 'journal'; readonly entry: JournalDraft };

/** The event of `audit.log` that tells of an entry. The same entry makes the same event. */
export function auditMessage(
  audited: AuditedEntry,
  about: { readonly system: string; readonly tenant: string; readonly workflow: Ref | undefined; readonly at: number },
): Message {
  const of = audited.kind === 'log' ? [audited.entry.chain, audited.seq] : ['journal', audited.entry.unit];
  const event: Envelope = {
    id: derivedId('audit', ...of),
    type: auditLog.name,
    source: `//dormouse/${about.system}/log`,
    subject: about.workflow,
    time: about.at,
    dataschema: `${auditLog.name}/${auditLog.version}`,
    tenant: about.tenant,
    causationId: undefined,
    traceparent: undefined,
    data: { at: about.at, ...audited },
  };
  return encodeMessage(event);
}
