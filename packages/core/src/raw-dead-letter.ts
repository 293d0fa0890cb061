import { commitUnit } from './commit.ts';
import { type DeadLetter, deadLetters } from './dead-letter.ts';
import { type Delivery, decodeMarks, type Envelope, encodeMessage, type Message, messageToKeep } from './envelope.ts';
import { derivedId } from './ids.ts';
import type { JournalDraft } from './log.ts';
import type { Logger } from './logger.ts';
import { eventKeyOf, inboxRef, lineRef, Place } from './order.ts';
import { type Owner, ownerOf } from './owner.ts';
import { serviceOf } from './service.ts';
import { idOf, refOf, type UnitOfWork } from './state-store.ts';
import type { StepPorts } from './step.ts';
import { deadLetter } from './system-topics.ts';
import { workflowOf } from './workflow.ts';

/** What Pub/Sub adds to a message that it forwards. Source: cloud.google.com/pubsub/docs/handling-failures. */
const ofTheWire = 'CloudPubSubDeadLetterSource';
const sourceSubscription = `${ofTheWire}Subscription`;
const deliveryCount = `${ofTheWire}DeliveryCount`;

/** Forwarded by the wire's own dead-letter policy: whoever was given it never committed what became of it. */
export function isRaw({ attributes }: Message): boolean {
  return attributes[sourceSubscription] !== undefined;
}

/** Subscriptions to `dead.letter` take what the wire forwards, also what was addressed to another. */
export const rawFilter = `attributes:${sourceSubscription}`;

/** How often the wire brings a message of which nobody commits what became: over its backoff, for about 16 hours. */
export const wireAttempts = 100;

/**
 * Records what reached `dead.letter` from the wire, as a dead letter without a response: like any other, it is shown, redriven and
 * discarded. @returns what is announced of it; undefined where its event was settled, or recorded by other means
 */
export async function recordRaw(
  delivery: Delivery,
  ports: StepPorts & { readonly log: Logger },
): Promise<Delivery | undefined> {
  const { store, clock, log } = ports;
  const subscription = delivery.message.attributes[sourceSubscription]!;
  const original = originalOf(delivery);
  const { message } = original;
  const { attempt = 1, timer } = decodeMarks(message.attributes);
  const event = eventKeyOf(original);
  const inboxAt = inboxRef(subscription, event);
  const key = idOf(inboxAt);
  const letterRef = refOf(deadLetters, key);
  const about = workflowOf(message.attributes['ce-subject'] ?? '');
  const refs = [inboxAt, letterRef, ...(about === undefined ? [] : [about])];
  const [inbox, recorded, workflow] = await store.get(refs);
  const owner = ownerOf(message, inbox!, workflow);
  const announce = (letter: DeadLetter) => ({
    ...delivery,
    message: encodeMessage(announcedOf(letter, '//pubsub', event[2], { ...owner, at: clock.now() })),
  });

  const tried = (inbox!.data?.attempt as number | undefined) ?? 0;
  if (inbox!.data?.state === 'settled' || tried >= attempt) {
    const letter = recorded!.data as DeadLetter | null;
    const isThis = letter?.code === 'delivery.unanswered' && letter.attempts === attempt;
    return isThis ? announce(letter) : undefined;
  }
  const now = clock.now();
  const cause = `no response: delivered ${delivery.message.attributes[deliveryCount] ?? 'many'} times, and what became of it was never committed`;
  const letter: DeadLetter = {
    id: key,
    topic: message.topic,
    subscription,
    code: 'delivery.unanswered',
    cause,
    attempts: attempt,
    workflow: workflowOf(owner.subject ?? ''),
    state: 'open',
    at: now,
    message,
    inbox: inboxAt,
  };
  const line = letter.workflow && lineRef(subscription, owner.tenant, letter.workflow);
  const place = line === undefined ? undefined : new Place((await store.get([line]))[0]!, subscription, event);
  const { writes, publish } = await followedBy(place, key, now, store);
  const journal: JournalDraft = {
    workflow: letter.workflow,
    moment: 'attempt.failed',
    inbox: inboxAt,
    unit: derivedId(key, attempt),
    cause: {
      kind: 'event',
      id: event[2],
      topic: letter.topic,
      subscription,
      attempt,
      from: message.attributes['ce-source'] ?? '//pubsub',
    },
    error: { code: letter.code, message: cause },
    decision: { kind: 'dead-letter', id: key },
    published: [],
    startedAt: now,
    durationMs: 0,
  };
  await commitUnit(ports, {
    tenant: owner.tenant,
    reads: [inbox!, recorded!, ...(place ? [place.line] : [])],
    writes: [
      {
        ref: inboxAt,
        data: { ...inbox!.data, ...(timer && { timer: timer.ref }), state: 'dead-letter', attempt, at: now },
      },
      { ref: letterRef, data: { ...letter } },
      ...writes,
    ],
    entries: [],
    journal: [journal],
    publish,
  });
  log.warn('delivery.unanswered', { subscription, event: event[2], workflow: letter.workflow, deadLetter: key });
  return announce(letter);
}

/** Those behind it wait for it or go on without it, as its subscription wants of what is dead. */
async function followedBy(
  place: Place | undefined,
  deadLetter: string,
  now: number,
  store: StepPorts['store'],
): Promise<Pick<UnitOfWork, 'writes' | 'publish'>> {
  if (!place?.hasTurn) return { writes: [], publish: [] };
  return place.goesOnWithoutDead ? place.passed(store, now) : { writes: place.kept(now, deadLetter), publish: [] };
}

/** The event of a dead letter. @param source who gave it up @param causationId its event */
export function announcedOf(
  { id, topic, subscription, code, cause, attempts, message }: DeadLetter,
  source: string,
  causationId: string,
  { tenant, subject, at }: Pick<Owner, 'tenant' | 'subject'> & { readonly at: number },
): Envelope {
  return {
    id: derivedId(id, attempts),
    type: deadLetter.name,
    source,
    subject,
    time: at,
    dataschema: `${deadLetter.name}/${deadLetter.version}`,
    tenant,
    causationId,
    traceparent: message.attributes['ce-traceparent'],
    data: { id, topic, subscription, code, cause, attempts },
  };
}

/** As it was before the wire forwarded it. */
function originalOf(delivery: Delivery): Delivery {
  const kept = Object.entries(delivery.message.attributes).filter(([name]) => !name.startsWith(ofTheWire));
  const subscription = delivery.message.attributes[sourceSubscription]!;
  // A subscription is named after its topic, if not otherwise.
  const own = subscription.slice(serviceOf(subscription).length + 1);
  const topic = { ...deadLetter, name: delivery.message.attributes['ce-type'] ?? own };
  const message = { ...delivery.message, attributes: Object.fromEntries(kept) };
  return { ...delivery, subscription, message: messageToKeep({ ...delivery, message }, topic) };
}
