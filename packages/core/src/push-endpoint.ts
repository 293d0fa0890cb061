import { admission, type RequestHead } from './admission.ts';
import { commitUnit } from './commit.ts';
import { type DeadLetter, deadLetters } from './dead-letter.ts';
import { Deferral, type DeferredEvent, deferralsRef, parked, waking } from './deferral.ts';
import {
  addressed,
  type Delivery,
  type DeliveryMarks,
  decodeMarks,
  decodeMessage,
  deliveryOf,
  type Envelope,
  encodeMessage,
  eventIdOf,
  type Message,
  messageToKeep,
} from './envelope.ts';
import { ConflictError, DormouseError } from './errors.ts';
import { causeOf, decide, placesOf, RetryLaterError, type RetryPolicy } from './failure.ts';
import { derivedId } from './ids.ts';
import { activitiesOf, settled } from './inbox.ts';
import { type Cause, isOfLog, type JournalDraft, type PublishedEvent } from './log.ts';
import type { Logger } from './logger.ts';
import { eventKeyOf, inboxRef, lineRef, Place } from './order.ts';
import { type Owner, ownerOf } from './owner.ts';
import { announcedOf, isRaw, recordRaw } from './raw-dead-letter.ts';
import { orderOf } from './relay.ts';
import type { Service, Subscription } from './service.ts';
import { idOf, type Ref, refOf, type UnitOfWork, type Versioned, type Write } from './state-store.ts';
import { RunningStep, type StepPorts } from './step.ts';
import { deadLetter } from './system-topics.ts';
import { defaultTenant } from './tenant.ts';
import { type Timer, timerRef } from './timer.ts';
import { checkData } from './topic.ts';
import { workflowOf } from './workflow.ts';

export interface EndpointPorts extends StepPorts {
  /** Name of the system, as in an event's source `//dormouse/<system>/<service>`. */
  readonly system: string;
  readonly log: Logger;
  /** Resolves where the bearer token of a push is good, rejects otherwise. */
  authenticate(token: string | undefined): Promise<void>;
}

export interface Endpoint {
  /** Pub/Sub's push requests: 204 when the delivery is settled, whatever became of it; an error when nothing could be committed. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** The same for a server that has method, header and body at hand: Node loads its Request in 20 ms and 15 MB. */
  readonly push: (request: PushRequest) => Promise<PushAnswer>;
  /** Its first half, before any of the body is read: the answer to who is not let in, undefined lets him in. */
  readonly admit: (head: RequestHead) => Promise<PushAnswer | undefined>;
  /** Its second half. */
  readonly take: (body: string) => Promise<PushAnswer>;
  /** The same without HTTP or token. Rejects when nothing could be committed. */
  readonly deliver: (delivery: Delivery) => Promise<void>;
}

export interface PushRequest extends RequestHead {
  readonly body: string;
}

export interface PushAnswer {
  readonly status: number;
  /** Why it was not settled. */
  readonly detail?: string;
}

/** Runs of one delivery on fresh reads, when what it read keeps moving. */
const maxRuns = 8;
/** Left of the ack deadline for the commit. */
const commitMarginMs = 2_000;
/** More than a push of the largest message, 10 MB, takes in base64. */
export const maxPushBytes = 15_000_000;

/**
 * Takes deliveries for the subscriptions of one service: decode, check, run one step, commit.
 *
 * The inbox document of a delivery (subscription, source, event id) is its memory: `settled`, or the number of failed
 * attempts and what was decided. Each commit of a delivery moves it, with its version as precondition, so of two
 * overlapping runs one commits and the other finds the event settled. Where the subscription asked for order, so has each
 * commit the line that the event stands in (`order.ts`).
 */
export function createEndpoint(service: Service, ports: EndpointPorts): Endpoint {
  const subscriptions = new Map(service.subscriptions.map((subscription) => [subscription.name, subscription]));

  async function deliver(delivery: Delivery): Promise<void> {
    const subscription = subscriptions.get(delivery.subscription);
    if (!subscription) {
      throw new DormouseError(
        'event.unknown-subscription',
        `service "${service.name}" has no subscription "${delivery.subscription}"`,
      );
    }
    if (subscription.topic.name === deadLetter.name && isRaw(delivery.message)) {
      const announced = await recordRaw(delivery, ports);
      if (announced) await new DeliveryRun(service, subscription, announced, {}, ports).settle();
      return;
    }
    const marks = decodeMarks(delivery.message.attributes);
    if (marks.to !== undefined && marks.to !== subscription.name) return;
    await new DeliveryRun(service, subscription, delivery, marks, ports).settle();
  }

  function admit(head: RequestHead): Promise<PushAnswer | undefined> {
    return admission(head, ports.authenticate, ports.log, 'push');
  }

  async function push(request: PushRequest): Promise<PushAnswer> {
    return (await admit(request)) ?? take(request.body);
  }

  async function take(body: string): Promise<PushAnswer> {
    if (body.length > maxPushBytes) return { status: 413, detail: `a push is at most ${maxPushBytes} bytes` };
    const delivery = readPush(body);
    if (!delivery) return { status: 400, detail: 'the body is no Pub/Sub push envelope' };
    try {
      await deliver(delivery);
      return { status: 204 };
    } catch (error) {
      const { subscription, messageId } = delivery;
      ports.log.error('delivery.unsettled', { subscription, messageId, error: causeOf(error) });
      const status = error instanceof DormouseError && error.code === 'event.unknown-subscription' ? 404 : 503;
      return { status, detail: causeOf(error) };
    }
  }

  async function fetch(request: Request): Promise<Response> {
    const { method, headers } = request;
    const refused = await admit({ method, authorization: headers.get('authorization') ?? undefined });
    const { status, detail } = refused ?? (await take(await request.text()));
    return detail === undefined ? new Response(null, { status }) : answer(status, detail);
  }

  return { fetch, push, admit, take, deliver };
}

/** Where the memory of a delivery is. */
export function deliveryRef(subscription: string, delivery: Pick<Delivery, 'message' | 'messageId'>): Ref {
  return inboxRef(subscription, eventKeyOf(delivery));
}

/** One delivery, from the message to its commit. */
class DeliveryRun {
  readonly #service: Service;
  readonly #subscription: Subscription;
  readonly #delivery: Delivery;
  readonly #marks: DeliveryMarks;
  readonly #ports: EndpointPorts;
  readonly #attempt: number;
  readonly #startedAt: number;
  /** The same by the steady clock. */
  readonly #begunAt: number;
  /** The handler has run to its end: what is committed are its effects, not its failure. */
  #hasHandled = false;
  readonly #activities = new Set<Ref>();

  constructor(
    service: Service,
    subscription: Subscription,
    delivery: Delivery,
    marks: DeliveryMarks,
    ports: EndpointPorts,
  ) {
    this.#service = service;
    this.#subscription = subscription;
    this.#delivery = delivery;
    this.#marks = marks;
    this.#ports = ports;
    this.#attempt = marks.attempt ?? 1;
    this.#startedAt = ports.clock.now();
    this.#begunAt = ports.clock.steady();
  }

  async settle(): Promise<void> {
    const { attributes } = this.#delivery.message;
    const id = eventIdOf(this.#delivery);
    const inbox = deliveryRef(this.#subscription.name, this.#delivery);
    const workflow = workflowOf(attributes['ce-subject'] ?? '');
    const isOrdered = this.#subscription.order !== undefined && workflow !== undefined;
    const claimed = attributes['ce-tenant'] ?? defaultTenant;
    const refs: DeliveryRefs = {
      inbox,
      timer: this.#marks.timer?.ref,
      workflow,
      deferrals: workflow === undefined ? undefined : deferralsRef(workflow),
      line: isOrdered ? lineRef(this.#subscription.name, claimed, workflow) : undefined,
    };

    // One deadline for all runs of this delivery: the wire does not wait longer because we ran twice.
    const deadline = new AbortController();
    const { ackDeadlineMs } = this.#subscription;
    const cancel = this.#ports.clock.after(ackDeadlineMs - commitMarginMs, () => deadline.abort());
    try {
      await this.#untilSettled(id, refs, deadline.signal);
    } finally {
      cancel();
    }
  }

  async #untilSettled(id: string, refs: DeliveryRefs, signal: AbortSignal): Promise<void> {
    for (let run = 1; ; run++) {
      const read = await this.#read(refs);
      const owner = ownerOf(this.#delivery.message, read.inbox, read.workflow);
      const place = await this.#placeOf(read, owner);
      try {
        const unit = await this.#unit(id, read, owner, place, signal);
        if (!unit) return;
        await commitUnit(this.#ports, unit);
        if (this.#hasHandled) this.#tell(id);
        return;
      } catch (error) {
        if (error instanceof ConflictError && run < maxRuns && !signal.aborted) continue;
        await commitUnit(this.#ports, await this.#failure(id, read, owner, place, refusal(error, run), []));
        return;
      }
    }
  }

  /** All that a run starts from, in one round trip. */
  async #read(refs: DeliveryRefs): Promise<DeliveryRead> {
    const names = Object.keys(refs) as (keyof DeliveryRefs)[];
    const asked = names.filter((name) => refs[name] !== undefined);
    const found = await this.#ports.store.get(asked.map((name) => refs[name]!));
    return Object.fromEntries(asked.map((name, index) => [name, found[index]!])) as unknown as DeliveryRead;
  }

  /** Where it stands, if it is of an order. */
  async #placeOf({ line }: DeliveryRead, { tenant, subject }: Owner): Promise<Place | undefined> {
    const workflow = workflowOf(subject ?? '');
    if (!line || !workflow) return undefined;
    const { name } = this.#subscription;
    const ref = lineRef(name, tenant, workflow);
    // Whose it is was not said, and is known only now.
    const own = ref === line.ref ? line : (await this.#ports.store.get([ref]))[0]!;
    return new Place(own, name, eventKeyOf(this.#delivery), this.#subscription.order!.poison);
  }

  /** What is to be committed; undefined where nothing is. */
  async #unit(
    id: string,
    read: DeliveryRead,
    owner: Owner,
    place: Place | undefined,
    signal: AbortSignal,
  ): Promise<UnitOfWork | undefined> {
    const { inbox, timer } = read;
    this.#hasHandled = false;
    if (this.#isTried(inbox)) {
      await this.#sendLeft();
      return inbox.data!.state === 'settled' ? this.#passOn(inbox, owner, place) : undefined;
    }
    if (this.#isReplaced(timer, owner)) return this.#letGo(read, timer, owner, place);
    if (place?.isBehind) return this.#heldBehind(id, inbox, owner, place);
    return this.#run(id, read, owner, place, signal);
  }

  /** Who ran it before may have died between its commit and its publish. */
  async #sendLeft(): Promise<void> {
    const workflow = orderOf(this.#delivery.message);
    if (workflow !== undefined) await this.#ports.relay?.drain({ workflow });
  }

  #tell(event: string): void {
    this.#ports.log.info('step.committed', {
      subscription: this.#subscription.name,
      event,
      workflow: workflowOf(this.#delivery.message.attributes['ce-subject'] ?? ''),
      attempt: this.#attempt,
      durationMs: Math.round(this.#ports.clock.steady() - this.#begunAt),
    });
  }

  /** Settled before, or an attempt that another message already made. */
  #isTried(inbox: Versioned): boolean {
    const lastAttempt = (inbox.data?.attempt as number | undefined) ?? 0;
    return inbox.data?.state === 'settled' || lastAttempt >= this.#attempt;
  }

  /** Comes from a timer that was set anew or cancelled since. */
  #isReplaced(timer: Versioned | undefined, { tenant }: Owner): timer is Versioned {
    if (timer === undefined) return false;
    return timer.data?.generation !== this.#marks.timer!.generation || timer.tenant !== tenant;
  }

  /** Nothing is left to do. If it was redriven, its dead letter is told; if others wait behind it, they are. */
  async #letGo(
    { inbox, deferrals }: DeliveryRead,
    timer: Versioned,
    { tenant }: Owner,
    place: Place | undefined,
  ): Promise<UnitOfWork | undefined> {
    const resolved = await this.#resolved(inbox);
    const next = await this.#next(place);
    // What it has decided before is over, too: a retry that has come, a dead letter.
    if (inbox.data === null && resolved.length === 0 && next.writes.length === 0) return undefined;
    const unparked = await waking(this.#ports.store, deferrals, tenant, [], hasWaited(inbox));
    const writes = [settled(inbox.ref, this.#ports.clock.now()), ...resolved, ...next.writes, ...unparked.writes];
    const reads = [inbox, timer, ...linesOfPlace(place), ...unparked.reads];
    return { tenant, reads, writes, settles: this.#recorded(inbox), ...nothingElse, publish: next.publish };
  }

  /** Settled before, but its turn it is: those behind it go on. */
  async #passOn(inbox: Versioned, { tenant }: Owner, place: Place | undefined): Promise<UnitOfWork | undefined> {
    const { writes, publish } = await this.#next(place);
    if (writes.length === 0) return undefined;
    return { tenant, reads: [inbox, ...linesOfPlace(place)], writes, ...nothingElse, publish };
  }

  /** It joins the line, once. */
  #heldBehind(id: string, inbox: Versioned, { tenant }: Owner, place: Place): UnitOfWork | undefined {
    if (inbox.data?.state === 'held') return undefined;
    const { name, topic } = this.#subscription;
    const at = this.#ports.clock.now();
    const memory = { ref: inbox.ref, data: { ...this.#remembered(inbox), state: 'held', at } };
    const message = messageToKeep(this.#delivery, topic);
    const workflow = workflowOf(this.#delivery.message.attributes['ce-subject'] ?? '');
    this.#ports.log.info('delivery.held', { subscription: name, event: id, workflow });
    const writes = [memory, ...place.held(message, at)];
    return { tenant, reads: [inbox, place.line], writes, ...nothingElse, publish: [] };
  }

  /** Who comes after it, once it is settled. */
  async #next(place: Place | undefined): Promise<Pick<UnitOfWork, 'writes' | 'publish'>> {
    return (await place?.passed(this.#ports.store, this.#ports.clock.now())) ?? { writes: [], publish: [] };
  }

  /** Runs the handler, to what must be committed: its effects, or what follows from its failure. */
  async #run(
    id: string,
    read: DeliveryRead,
    owner: Owner,
    place: Place | undefined,
    signal: AbortSignal,
  ): Promise<UnitOfWork> {
    const { topic, handler, name } = this.#subscription;
    const { inbox, timer, workflow, deferrals } = read;
    const { tenant } = owner;
    let step: RunningStep | undefined;
    try {
      if (owner.refused) throw owner.refused;
      const decoded = decodeMessage(this.#delivery, topic);
      const event = { ...decoded, tenant, data: this.#checked(decoded) };
      const origin = {
        seed: [name, tenant, event.source, event.id],
        cause: this.#cause(id),
        source: this.#source(),
        subject: event.subject,
        tenant,
        traceparent: event.traceparent,
        attempt: this.#attempt,
        signal,
        consumedTimer: this.#marks.timer?.ref,
        delivery: { inbox: inbox.ref, activities: this.#activities },
      };
      const prefetched = [timer, workflow].filter((each): each is Versioned => each !== undefined);
      step = new RunningStep(origin, this.#ports, prefetched);
      await beforeDeadline(handler(event, step), signal, this.#subscription);
      if (step.deferral) throw step.deferral;
      this.#hasHandled = true;
      const resolved = await this.#resolved(inbox);
      const next = await this.#next(place);
      const woken = await waking(this.#ports.store, deferrals, tenant, step.written, hasWaited(inbox));
      return step.unit({
        reads: [inbox, ...linesOfPlace(place), ...woken.reads],
        writes: [settled(inbox.ref, this.#ports.clock.now()), ...resolved, ...next.writes, ...woken.writes],
        settles: this.#recorded(inbox),
        publish: [...next.publish, ...woken.publish],
      });
    } catch (error) {
      if (error instanceof ConflictError) throw error;
      if (error instanceof DormouseError && error.code === 'store.unavailable') throw error;
      const seen = step?.reads ?? [];
      if (error instanceof Deferral) return await this.#deferral(id, read, owner, place, error, seen);
      // What is decided on what the handler saw holds only if that still is so.
      return await this.#failure(id, read, owner, place, error, seen, step?.policyOf(error));
    } finally {
      step?.close();
    }
  }

  /** Results of activities of this delivery: they are kept until it is settled. */
  #recorded({ data }: Versioned): Ref[] {
    return [...new Set([...activitiesOf(data), ...this.#activities])];
  }

  /** What it remembers beside its state while it is not settled. */
  #remembered(inbox: Versioned): Record<string, unknown> {
    const activities = this.#recorded(inbox);
    return {
      ...inbox.data,
      // The timer that its message came from stays while this waits.
      ...(this.#marks.timer && { timer: this.#marks.timer.ref }),
      ...(activities.length > 0 && { activities }),
    };
  }

  /** The dead letter that this delivery was redriven from, if it was. */
  async #resolved(inbox: Versioned): Promise<Write[]> {
    const ref = inbox.data?.deadLetter as Ref | undefined;
    if (ref === undefined) return [];
    const [letter] = await this.#ports.store.get([ref]);
    return [{ ref, data: { ...letter!.data, state: 'resolved', resolvedAt: this.#ports.clock.now() } }];
  }

  #checked(event: Envelope): unknown {
    const { topic } = this.#subscription;
    const version = Number(/\/(\d+)$/.exec(event.dataschema ?? '')?.[1] ?? topic.version);
    if (version > topic.version) {
      throw new DormouseError(
        'event.newer-version',
        `event ${event.id} has schema ${event.dataschema}; this code knows "${topic.name}" up to version ${topic.version}. Deploy the newer code`,
      );
    }
    const checked = checkData(topic, event.data);
    if ('data' in checked) return checked.data;
    throw new DormouseError(
      'event.invalid',
      `event ${event.id} does not fit "${topic.name}" version ${topic.version}: ${checked.problems}`,
    );
  }

  /** What an attempt commits whose event came too early: it waits for what it was decided on, and that this is as it was. */
  async #deferral(
    id: string,
    read: DeliveryRead,
    owner: Owner,
    place: Place | undefined,
    { reason, maxAgeMs }: Deferral,
    seen: UnitOfWork['reads'],
  ): Promise<UnitOfWork> {
    const { clock, log } = this.#ports;
    const { name, topic } = this.#subscription;
    const { inbox, workflow, deferrals } = read;
    const now = clock.now();
    const since = (inbox.data?.deferredAt as number | undefined) ?? now;
    const leftMs = Math.min(maxAgeMs, since + maxAgeMs - now);
    const about = workflow!.ref;
    const reads = [inbox, workflow!, ...linesOfPlace(place), ...seen];
    if (leftMs <= 0) {
      const error = new DormouseError('step.deferred', `deferred for ${maxAgeMs / 1000}s: ${reason}`);
      return this.#failure(id, read, owner, place, error, reads);
    }
    const key = idOf(inbox.ref);
    const event: DeferredEvent = {
      name: `deferral of ${name}`,
      dueAt: now + leftMs,
      message: addressed(messageToKeep(this.#delivery, topic), name, this.#attempt + 1),
      waitsFor: [about, ...seen.map(({ ref }) => ref).filter((ref) => ref.startsWith(`${about}/`))],
      deferredAt: now,
    };
    const record = {
      ...this.#remembered(inbox),
      state: 'deferred',
      attempt: this.#attempt,
      at: now,
      deferredAt: since,
    };
    const journal: JournalDraft = {
      workflow: workflowOf(owner.subject ?? ''),
      moment: 'event.deferred',
      inbox: inbox.ref,
      unit: derivedId(key, this.#attempt),
      cause: this.#cause(id),
      error: { code: 'step.deferred', message: reason },
      decision: { kind: 'defer', until: event.dueAt },
      published: [],
      startedAt: this.#startedAt,
      durationMs: Math.round(clock.steady() - this.#begunAt),
    };
    log.info('event.deferred', { subscription: name, event: id, workflow: about, attempt: this.#attempt, reason });
    return {
      tenant: owner.tenant,
      reads,
      writes: [
        { ref: inbox.ref, data: record },
        ...parked(timerRef(about, `deferred ${key}`), event, deferrals!.ref, now),
        ...(place?.kept(now) ?? []),
      ],
      entries: [],
      journal: isOfLog(journal.cause) ? [] : [journal],
      publish: [],
    };
  }

  /** What a failed attempt commits: the decision, and what carries it out. */
  async #failure(
    id: string,
    { inbox, deferrals }: DeliveryRead,
    { tenant, subject }: Owner,
    place: Place | undefined,
    error: unknown,
    seen: UnitOfWork['reads'],
    ofActivity?: RetryPolicy,
  ): Promise<UnitOfWork> {
    const { clock, random, log } = this.#ports;
    const now = clock.now();
    const { name, retry, topic, order } = this.#subscription;
    // Each is counted for itself.
    const counter = error instanceof RetryLaterError ? 'postponements' : ofActivity ? 'outages' : 'failures';
    const failures = ((inbox.data?.[counter] as number | undefined) ?? 0) + 1;
    const policy = ofActivity ?? retry;
    const endless = place !== undefined && order!.poison === 'block';
    const decision = decide(error, failures, endless ? { ...policy, attempts: Infinity } : policy, random.fraction());
    const workflow = workflowOf(subject ?? '');
    const cause = causeOf(error);
    // The same for every attempt at this event, as the inbox's.
    const key = idOf(inbox.ref);
    const record = { ...this.#remembered(inbox), state: decision.kind, attempt: this.#attempt, at: now };
    const message = messageToKeep(this.#delivery, topic);
    const gone = decision.kind === 'dead-letter' && hasWaited(inbox);
    const unparked = await waking(this.#ports.store, deferrals, tenant, [], gone);
    const writes: Write[] = [...unparked.writes];
    const publish: Message[] = [];
    const published: PublishedEvent[] = [];

    if (decision.kind === 'retry') {
      const { afterMs } = decision;
      const retry: Timer = {
        name: `retry of ${name}`,
        dueAt: now + afterMs,
        message: addressed(message, name, this.#attempt + 1),
      };
      writes.push(
        { ref: inbox.ref, data: { ...record, [counter]: failures - (decision.counts ? 0 : 1) } },
        { ref: timerRef(workflow ?? 'workflows/none', `retry ${key}`), data: { ...retry }, dueAfterMs: afterMs },
        ...(place?.kept(now) ?? []),
      );
    } else {
      const told = {
        id: key,
        topic: topic.name,
        subscription: name,
        code: decision.code,
        cause,
        attempts: this.#attempt,
      };
      const letter: DeadLetter = { ...told, workflow, state: 'open', at: now, message, inbox: inbox.ref };
      writes.push(
        { ref: inbox.ref, data: { ...record, [counter]: failures } },
        { ref: refOf(deadLetters, key), data: { ...letter } },
      );
      if (order?.poison === 'park') {
        const next = await this.#next(place);
        writes.push(...next.writes);
        publish.push(...next.publish);
      } else writes.push(...(place?.kept(now, key) ?? []));
      // What dies on the way to the record of the dead is recorded and logged, never announced again.
      if (topic.name !== deadLetter.name) {
        const announced = announcedOf(letter, this.#source(), id, { tenant, subject, at: now });
        publish.push(encodeMessage(announced));
        published.push({ id: announced.id, topic: announced.type, subject, data: told });
      }
    }
    const journal: JournalDraft = {
      workflow,
      moment: 'attempt.failed',
      inbox: inbox.ref,
      unit: derivedId(key, this.#attempt),
      cause: this.#cause(id),
      error: { code: decision.code, message: cause },
      decision:
        decision.kind === 'retry' ? { kind: 'retry', at: now + decision.afterMs } : { kind: 'dead-letter', id: key },
      published,
      startedAt: this.#startedAt,
      durationMs: Math.round(clock.steady() - this.#begunAt),
    };
    log.warn('attempt.failed', {
      subscription: name,
      event: id,
      workflow,
      attempt: this.#attempt,
      decision: decision.kind,
      code: decision.code,
      cause,
      ...(decision.code === 'step.failed' && { at: placesOf(error) }),
    });
    const entered = isOfLog(journal.cause) ? [] : [journal];
    // That the outside failed holds whatever moved meanwhile. To run again at once would ask it again, with no backoff.
    const holdsAnyway = ofActivity !== undefined && decision.kind === 'retry';
    const reads = [inbox, ...linesOfPlace(place), ...unparked.reads, ...(holdsAnyway ? [] : seen)];
    return { tenant, reads, writes, entries: [], journal: entered, publish };
  }

  #cause(id: string): Cause {
    const { attributes } = this.#delivery.message;
    return {
      kind: 'event',
      id,
      topic: this.#subscription.topic.name,
      subscription: this.#subscription.name,
      attempt: this.#attempt,
      from: attributes['ce-source'] ?? '//pubsub',
    };
  }

  #source(): string {
    return `//dormouse/${this.#ports.system}/${this.#service.name}`;
  }
}

/** Its event was deferred once, and since then neither settled nor dead. */
function hasWaited({ data }: Versioned): boolean {
  return data?.deferredAt !== undefined;
}

const nothingElse = { entries: [], journal: [] } as const;

function linesOfPlace(place: Place | undefined): Versioned[] {
  return place ? [place.line] : [];
}

/** Where what a delivery needs is. */
interface DeliveryRefs {
  readonly inbox: Ref;
  readonly timer: Ref | undefined;
  readonly workflow: Ref | undefined;
  readonly deferrals: Ref | undefined;
  readonly line: Ref | undefined;
}

interface DeliveryRead {
  readonly inbox: Versioned;
  readonly timer?: Versioned;
  readonly workflow?: Versioned;
  /** Whether somebody waits for documents of the workflow. */
  readonly deferrals?: Versioned;
  readonly line?: Versioned;
}

/** Why a commit was refused for good, as a failure of its step. Throws on what may pass: then the wire brings it again. */
function refusal(error: unknown, runs: number): DormouseError {
  if (error instanceof ConflictError) {
    return new DormouseError('store.contended', `after ${runs} runs still ${error.message}`);
  }
  if (error instanceof DormouseError && error.code !== 'store.unavailable') return error;
  throw error;
}

async function beforeDeadline(
  work: Promise<void>,
  signal: AbortSignal,
  { name, ackDeadlineMs }: Subscription,
): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const miss = () => {
    const deadline = `ackDeadline ${ackDeadlineMs / 1000}s less ${commitMarginMs / 1000}s`;
    const remedy = 'pass step.signal on, or raise ackDeadline';
    reject(
      new DormouseError(
        'step.deadline',
        `subscription "${name}": the handler ran past its deadline (${deadline}); ${remedy}`,
      ),
    );
  };
  if (signal.aborted) miss();
  else signal.addEventListener('abort', miss);
  await Promise.race([work, late]);
}

function readPush(body: string): Delivery | undefined {
  try {
    const { message, subscription } = JSON.parse(body);
    const { data = '', attributes = {}, messageId } = message;
    if (typeof subscription !== 'string' || typeof messageId !== 'string' || typeof data !== 'string') return undefined;
    return deliveryOf(subscription, { ...message, data, attributes });
  } catch {
    // Not JSON, or no envelope in it: the caller answers 400.
    return undefined;
  }
}

function answer(status: number, detail: string): Response {
  return Response.json({ status, detail }, { status, headers: { 'content-type': 'application/problem+json' } });
}
