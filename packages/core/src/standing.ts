import type { Attempt } from './attempt.ts';
import { deferralsRef } from './deferral.ts';
import { eventKeyOf, lineRef, Place } from './order.ts';
import { type Owner, ownerOf } from './owner.ts';
import type { Ref, UnitOfWork, Versioned } from './state-store.ts';
import { defaultTenant } from './tenant.ts';
import { workflowOf } from './workflow.ts';

interface Read {
  /** The memory of the delivery. */
  readonly inbox: Versioned;
  readonly timer?: Versioned;
  readonly workflow?: Versioned;
  /** Whether somebody waits for documents of the workflow. */
  readonly deferrals?: Versioned;
  /** In which it stands, if it is of an order. */
  readonly line?: Versioned;
}

/** What a run of a delivery starts from. */
export interface Standing extends Omit<Read, 'line'> {
  readonly owner: Owner;
  /** In its line, if it is of an order. */
  readonly place?: Place;
}

/** In one round trip at most. */
export async function standingOf(attempt: Attempt): Promise<Standing> {
  const { line, ...read } = await readOf(attempt);
  const owner = ownerOf(attempt.delivery.message, read.inbox, read.workflow);
  const place = line && (await placeOf(attempt, line, owner));
  return { ...read, owner, ...(place && { place }) };
}

/** Of a run after a conflict, only what is not known. */
async function readOf(attempt: Attempt): Promise<Read> {
  const { ports, delivery, inbox, about, marks, subscription, known } = attempt;
  const claimed = delivery.message.attributes['ce-tenant'] ?? defaultTenant;
  const isOrdered = subscription.order !== undefined && about !== undefined;
  const refs: Record<keyof Read, Ref | undefined> = {
    inbox,
    timer: marks.timer?.ref,
    workflow: about,
    deferrals: about === undefined ? undefined : deferralsRef(about),
    line: isOrdered ? lineRef(subscription.name, claimed, about) : undefined,
  };
  const asked = (Object.keys(refs) as (keyof Read)[]).filter((name) => refs[name] !== undefined);
  const { foresight } = ports;
  const foreseen = known.isNew ? (foresight?.ahead(subscription.name, attempt.landmarks) ?? []) : [];
  const ahead = foresight ? [...foreseen, ...known.again] : [];
  const missing = new Set([...asked.map((name) => refs[name]!), ...ahead].filter((ref) => !known.of(ref)));
  if (missing.size > 0) known.add(await ports.store.get([...missing]));
  return Object.fromEntries(asked.map((name) => [name, known.of(refs[name]!)!])) as unknown as Read;
}

async function placeOf(
  { subscription, delivery, ports }: Attempt,
  line: Versioned,
  { tenant, subject }: Owner,
): Promise<Place | undefined> {
  const workflow = workflowOf(subject ?? '');
  if (!workflow) return undefined;
  const ref = lineRef(subscription.name, tenant, workflow);
  // Whose it is was not said, and is known only now.
  const own = ref === line.ref ? line : (await ports.store.get([ref]))[0]!;
  return new Place(own, subscription.name, eventKeyOf(delivery), subscription.order!.poison);
}

/** What each commit of a delivery holds only with: its memory, and the line that it stands in. */
export function preconditions({ inbox, place }: Pick<Standing, 'inbox' | 'place'>): Versioned[] {
  return place ? [inbox, place.line] : [inbox];
}

/** Its event was deferred once, and since then neither settled nor dead. */
export function hasWaited({ inbox }: Pick<Standing, 'inbox'>): boolean {
  return inbox.data?.deferredAt !== undefined;
}

/** Who comes after it, once it is out of the way. */
export async function following(
  { place }: Pick<Standing, 'place'>,
  { ports }: Attempt,
): Promise<Pick<UnitOfWork, 'writes' | 'publish'>> {
  return (await place?.passed(ports.store, ports.clock.now())) ?? { writes: [], publish: [] };
}
