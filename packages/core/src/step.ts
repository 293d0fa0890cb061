import { AsyncLocalStorage } from 'node:async_hooks';
import { type BlobStore, type FileRef, fileHash, readFile, saltKeyOf } from './blob-store.ts';
import { canonicalJson } from './canonical-json.ts';
import { clientLink } from './client.ts';
import type { Clock, Random } from './clock.ts';
import { type DeadLetter, deadLetters } from './dead-letter.ts';
import { type DeferOptions, Deferral } from './deferral.ts';
import { type Duration, durationMs } from './duration.ts';
import { addressed, type Envelope, encodeMessage, type Message, messageProblem } from './envelope.ts';
import { ConflictError, DormouseError } from './errors.ts';
import { activityPolicy, type RetryOptions, type RetryPolicy, retryPolicy } from './failure.ts';
import type { Activity, Asked, Foresight } from './foresight.ts';
import { derivedId, hmacSha256, randomId, sha256 } from './ids.ts';
import { activitiesOf, settled } from './inbox.ts';
import { type Cause, type EntryDraft, isOfLog, type PublishedEvent } from './log.ts';
import { inboxRef, type Line, lineRef, Place } from './order.ts';
import { difference } from './patch.ts';
import {
  commitmentOf,
  erasedRef,
  newSalt,
  opened,
  personalActivitiesOf,
  personalFilesOf,
  refuseErased,
  sealed,
} from './personal.ts';
import type { Relay } from './relay.ts';
import type { Waker } from './scheduler.ts';
import { idOf, type Ref, refOf, type StateStore, type UnitOfWork, type Versioned, type Write } from './state-store.ts';
import { consumed, timerRef } from './timer.ts';
import { checkData, type Topic } from './topic.ts';
import { type Collection, type WorkflowKind, workflowOf } from './workflow.ts';

export interface PublishOptions {
  /** What the event is about. Default: the subject of the step. */
  readonly subject?: Ref;
  /** Hold it back this long. Needs `timer`. */
  readonly after?: Duration;
  /** Name of the timer, one of each name a workflow: setting it again replaces it, `cancelTimer` takes it back. */
  readonly timer?: string;
}

/**
 * What an activity is given: pass the key to the outside, so that a repeat can be told; stop at the signal; count its own
 * time-outs by the clock.
 */
export interface ActivityContext {
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

export interface ActivityOptions {
  /** When it runs again after a failure. Default: 25 attempts, 1s to 600s. */
  readonly retry?: RetryOptions;
  /** Its signal aborts after this long, and it has failed, whether it listens or not. Default: with the step's deadline. */
  readonly timeout?: Duration;
  /** Its input or result is personal data: what is kept of them is erased with the workflow's. Default false. */
  readonly personal?: boolean;
}

/** A document as this step sees it. Changes are collected, and committed with everything else the step does. */
export interface Document<T> {
  readonly ref: Ref;
  readonly id: string;
  readonly exists: boolean;
  /** @throws DormouseError `document.missing` */
  readonly data: Readonly<T>;
  /** @throws DormouseError `document.exists` */
  create(data: T): void;
  /** Replaces the members given, keeps the others. @throws DormouseError `document.missing` */
  update(patch: Partial<T>): void;
}

export interface FileOptions {
  readonly contentType?: string;
  /** Erased with the workflow's personal data; nothing in its reference tells of the content. Default false. */
  readonly personal?: boolean;
}

export interface RedriveOptions {
  /**
   * Its service is another command, and nobody tells what becomes of it there: it is resolved when it leaves. Given up by the
   * wire once more, it is open again. Default false.
   */
  readonly foreign?: boolean;
}

/** One run of a handler for one event: reads, effects, one commit. */
export interface Step {
  /** The run of this handler for this event, from 1. */
  readonly attempt: number;
  /** Aborts at the deadline of the step: the ack deadline less a margin. */
  readonly signal: AbortSignal;
  readonly now: number;
  readonly files: {
    /**
     * Stores a file under the workflow. Durable at once; named by whoever keeps the reference. Default `application/json`,
     * and not personal. Its name is no place for personal data: it enters the log with the reference. A personal one is
     * refused where the workflow's personal data was erased.
     */
    put(name: string, content: string | Uint8Array, options?: FileOptions): Promise<FileRef>;
    read(file: FileRef): Promise<Uint8Array>;
    text(file: FileRef): Promise<string>;
  };
  /** The workflow that the event or command is about. */
  workflow<T>(kind: WorkflowKind<T>): Promise<Document<T>>;
  /** A document below that workflow. */
  document<T>(of: Collection<T>, id: string): Promise<Document<T>>;
  /** Several of them, in one round trip. */
  documents<T>(of: Collection<T>, ids: readonly string[]): Promise<Document<T>[]>;
  /** @throws DormouseError `step.publish-invalid` */
  publish<T>(topic: Topic<T>, data: T, options?: PublishOptions): void;
  cancelTimer(name: string): Promise<void>;
  /**
   * Sends a dead letter back to the one subscription that failed, its attempts counted anew. Nothing happens where it is
   * not open. @throws DormouseError `document.missing`
   */
  redrive(deadLetterId: string, options?: RedriveOptions): Promise<void>;
  /** @throws DormouseError `document.missing` */
  deadLetter(id: string): Promise<Readonly<DeadLetter>>;
  /** Leaves a dead letter as it is, for good. It stays on record; events that it held up go on without it. @throws DormouseError `document.missing`, `command.refused` where it is not open */
  discard(deadLetterId: string, reason: string): Promise<void>;
  /**
   * A side effect with a result that is remembered: a re-run of the step takes the recorded result.
   * At least once, with a stable idempotency key. Result: JSON, at most 256 KB.
   *
   * A handler that lets its failure through runs again by the activity's own policy: by default 25 attempts, 1s to 600s,
   * which outlast an outage of an hour. They are counted apart from the handler's own failures.
   */
  run<I, R>(
    name: string,
    input: I,
    activity: (input: I, context: ActivityContext) => Promise<R>,
    options?: ActivityOptions,
  ): Promise<R>;
  /** A remark for the log entry of this unit. No personal data. */
  note(text: string): void;
  /**
   * The event came too early: for now nothing of what the handler did is committed, and nothing after this runs. It comes again
   * when another step or command writes a document that this one has read, or the workflow's own, and uses up no attempt.
   * What is deferred for longer than the greatest age is a dead letter with the reason. Where the subscription has order, it holds back
   * the events behind it: what it waits for must not come from those. In a command: refused with the reason.
   * @param reason for operators; no personal data
   */
  defer(reason: string, options?: DeferOptions): never;
}

/** What a step needs of its platform. */
export interface StepPorts {
  readonly store: StateStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Publishes what is committed. None where the store does so within its commit. */
  readonly relay?: Pick<Relay, 'send' | 'drain'> | undefined;
  /** Has timers and outbox looked after. None where a host that always runs does so. */
  readonly waker?: Waker | undefined;
  /** Reads ahead. None where the store is near. */
  readonly foresight?: Foresight | undefined;
}

export interface StepOrigin {
  /** What ids of published events derive from: the same for every run for the same event. */
  readonly seed: readonly string[];
  readonly cause: Cause;
  readonly source: string;
  readonly subject: Ref | undefined;
  /** Whose the step is. What is of another tenant is not there for it. */
  readonly tenant: string;
  readonly traceparent: string | undefined;
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** The timer whose message woke this step: the commit marks it consumed, unless the handler sets it anew. */
  readonly consumedTimer?: Ref | undefined;
  /** Of a delivery: results of its activities are kept until it is settled. None of a command: nobody settles one that failed. */
  readonly delivery?: DeliveryMemory | undefined;
}

/** What a delivery remembers from one run to the next. */
export interface DeliveryMemory {
  readonly inbox: Ref;
  /** Recorded results that its runs left or took. */
  readonly activities: Set<Ref>;
}

const maxResultBytes = 256 * 1024;
/** So long what was read before anybody asked for it counts as read when somebody does. */
const freshMs = 1_000;
const insideActivity = new AsyncLocalStorage<string>();

/**
 * Collects what a handler does. Nothing leaves it but through `unit()`, whose result is committed whole or not at all.
 *
 * Invariants: a document is read once and its version kept, so that `reads` holds every document the handler has seen
 * (and none that was only fetched ahead of it); ids of published events depend only on the origin's seed and their
 * ordinal, so that a re-run publishes the same ids.
 */
export class RunningStep implements Step {
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly now: number;
  /** The same by the steady clock. */
  readonly #begunAt: number;
  readonly #origin: StepOrigin;
  readonly #ports: StepPorts;
  /** Read before anybody asked for it. */
  readonly #readAhead: ReadonlyMap<Ref, Versioned>;
  /** What of that still counts for the handler. */
  readonly #prefetched: Map<Ref, Versioned>;
  readonly #seen = new Map<Ref, Versioned>();
  readonly #copies = new Map<Ref, Record<string, unknown> | null>();
  readonly #written = new Map<Ref, PendingWrite>();
  readonly #published: { readonly message: Message; readonly record: PublishedEvent }[] = [];
  readonly #released: Message[] = [];
  readonly #cancelledTimers: string[] = [];
  /** Names of timers that are cancelled if they are there, which is looked up when the handler is done: all of them in one request. */
  readonly #cancelling = new Map<Ref, string>();
  readonly #asked = new Map<string, Asked>();
  /** Recorded results: they never change. */
  readonly #results = new Map<Ref, Versioned>();
  readonly #activities = new Set<string>();
  readonly #settled: Ref[] = [];
  readonly #failedActivities = new WeakMap<Error, RetryPolicy>();
  #note: string | undefined;
  #closed = false;
  #deferral: Deferral | undefined;

  constructor(origin: StepOrigin, ports: StepPorts, prefetched: readonly Versioned[]) {
    this.attempt = origin.attempt;
    this.signal = origin.signal;
    this.now = ports.clock.now();
    this.#begunAt = ports.clock.steady();
    this.#origin = origin;
    this.#ports = ports;
    this.#readAhead = new Map(prefetched.map((versioned) => [versioned.ref, versioned]));
    this.#prefetched = new Map(this.#readAhead);
    if (origin.consumedTimer) {
      this.#seen.set(origin.consumedTimer, this.#prefetched.get(origin.consumedTimer)!);
      const timer = this.#prefetched.get(origin.consumedTimer)!.data;
      this.#written.set(origin.consumedTimer, {
        data: consumed(timer),
        settledAt: this.now,
        logged: false,
      });
    }
  }

  get #workflow(): Ref {
    const ref = this.#origin.subject && workflowOf(this.#origin.subject);
    if (!ref)
      throw new DormouseError(
        'document.ref',
        `this step is about no workflow (subject "${this.#origin.subject}"); publish its event with a subject`,
      );
    return ref;
  }

  async workflow<T>(kind: WorkflowKind<T>): Promise<Document<T>> {
    const ref = this.#workflow;
    if (!idOf(ref).startsWith(`${kind.idPrefix}-`)) {
      throw new DormouseError(
        'document.ref',
        `"${ref}" is no workflow of kind ${kind.idPrefix}; this handler expects one`,
      );
    }
    await this.#read([ref]);
    return this.#document<T>(ref, { client: kind.client as PendingWrite['client'] });
  }

  async document<T>(of: Collection<T>, id: string): Promise<Document<T>> {
    return (await this.documents(of, [id]))[0]!;
  }

  async documents<T>(of: Collection<T>, ids: readonly string[]): Promise<Document<T>[]> {
    const refs = ids.map((id) => `${this.#workflow}/${refOf(of.name, id)}`);
    // That it is not erased is a precondition of whatever is done with it: nothing written meanwhile brings it back.
    await this.#read(of.personal ? [...refs, erasedRef(this.#workflow)] : refs);
    return refs.map((ref) => this.#document<T>(ref, { personal: of.personal }));
  }

  publish<T>(topic: Topic<T>, data: T, options: PublishOptions = {}): void {
    this.#effect(`publish to "${topic.name}"`);
    const checked = checkData(topic, data);
    if ('problems' in checked) {
      throw new DormouseError(
        'step.publish-invalid',
        `data for "${topic.name}" does not fit its schema: ${checked.problems}`,
      );
    }
    if (options.after !== undefined && options.timer === undefined) {
      throw new DormouseError(
        'step.publish-invalid',
        `publish to "${topic.name}" after ${options.after} needs a \`timer\` name, so that it can be replaced and cancelled`,
      );
    }
    const { seed, cause, source, tenant, traceparent } = this.#origin;
    const subject = options.subject ?? this.#origin.subject;
    const event: Envelope = {
      id: derivedId(...seed, this.#published.length),
      type: topic.name,
      source,
      subject,
      time: this.now,
      dataschema: `${topic.name}/${topic.version}`,
      tenant,
      causationId: cause.id,
      traceparent,
      data: checked.data,
    };
    const record = { id: event.id, topic: topic.name, subject, data: event.data };
    if (options.timer === undefined) {
      this.#published.push({ message: acceptable(encodeMessage(event)), record });
      return;
    }
    const dueAt = this.now + durationMs(options.after ?? '0s', `publish to "${topic.name}": after`);
    const ref = timerRef(this.#workflow, options.timer);
    // The event's id is new each time the timer is set, so it serves as the timer's generation.
    const generation = event.id;
    const message = acceptable(encodeMessage(event, { timer: { ref, generation } }));
    this.#written.set(ref, { data: { name: options.timer, generation, dueAt, message }, dueAt, logged: false });
    this.#published.push({ message, record: { ...record, dueAt, timer: options.timer } });
  }

  async cancelTimer(name: string): Promise<void> {
    this.#effect(`cancel timer "${name}"`);
    const ref = timerRef(this.#workflow, name);
    if (this.#written.has(ref)) this.#cancel(name, ref, this.#written.get(ref)!.data);
    else this.#cancelling.set(ref, name);
  }

  #cancel(name: string, ref: Ref, timer: Versioned['data']): void {
    if (timer === null || timer.consumed) return;
    this.#written.set(ref, { data: null, logged: false });
    this.#cancelledTimers.push(name);
  }

  /** The handler has run to its end: looks up what it left to be looked up. */
  async conclude(): Promise<void> {
    // Nobody acts on these any more: one that is out of date refuses the commit.
    for (const ref of this.#cancelling.keys()) {
      const ahead = this.#readAhead.get(ref);
      if (ahead && !this.#seen.has(ref)) this.#seen.set(ref, this.#own(ahead));
    }
    await this.#read([...this.#cancelling.keys()]);
    for (const [ref, name] of this.#cancelling) {
      const timer = this.#seen.get(ref)!.data;
      if (!this.#written.has(ref)) this.#cancel(name, ref, timer);
      // It was set anew since.
      else if (timer !== null && !timer.consumed) this.#cancelledTimers.push(name);
    }
  }

  async redrive(deadLetterId: string, { foreign = false }: RedriveOptions = {}): Promise<void> {
    this.#effect(`redrive dead letter "${deadLetterId}"`);
    const letter = await this.deadLetter(deadLetterId);
    if (letter.state !== 'open') return;
    const ref = refOf(deadLetters, deadLetterId);
    await this.#read([letter.inbox]);
    const inbox = this.#seen.get(letter.inbox)!.data;
    const state = foreign ? { state: 'resolved', resolvedAt: this.now } : { state: 'redriving' };
    this.#written.set(ref, { data: { ...letter, ...state }, logged: false });
    this.#written.set(letter.inbox, {
      data: { ...inbox, failures: 0, outages: 0, postponements: 0, deferredAt: undefined, deadLetter: ref },
      logged: false,
    });
    this.#released.push(addressed(letter.message, letter.subscription, letter.attempts + 1));
    this.note(`redrives ${letter.topic} to ${letter.subscription}`);
  }

  async discard(deadLetterId: string, reason: string): Promise<void> {
    this.#effect(`discard dead letter "${deadLetterId}"`);
    const letter = await this.deadLetter(deadLetterId);
    if (letter.state !== 'open') {
      throw new DormouseError(
        'command.refused',
        `dead letter "${deadLetterId}" is ${letter.state}; only an open one can be discarded`,
      );
    }
    await this.#passed(letter);
    await this.#read([letter.inbox]);
    this.#settled.push(...activitiesOf(this.#seen.get(letter.inbox)!.data));
    const { data, settledAt } = settled(letter.inbox, this.now);
    this.#written.set(letter.inbox, { data, settledAt, logged: false });
    const discarded = { reason, at: this.now };
    this.#written.set(refOf(deadLetters, deadLetterId), {
      data: { ...letter, state: 'discarded', discarded },
      logged: false,
    });
    this.note(`discards ${letter.topic} of ${letter.subscription}: ${reason}`);
  }

  /** Those whom a dead letter held up go on without it. */
  async #passed({ workflow, subscription, inbox }: DeadLetter): Promise<void> {
    if (workflow === undefined) return;
    const ref = lineRef(subscription, this.#origin.tenant, workflow);
    await this.#read([ref]);
    const line = this.#seen.get(ref)!;
    const { turn, expected = [] } = (line.data ?? {}) as Partial<Line>;
    const inLine = [...(turn ? [turn] : []), ...expected.map(({ event }) => event)];
    const own = inLine.find((event) => inboxRef(subscription, event) === inbox);
    if (!own) return;
    const { writes, publish } = await new Place(line, subscription, own).passed(this.#ports.store, this.now);
    for (const write of writes) this.#written.set(write.ref, { data: write.data, logged: false });
    this.#released.push(...publish);
  }

  async deadLetter(id: string): Promise<Readonly<DeadLetter>> {
    const ref = refOf(deadLetters, id);
    await this.#read([ref]);
    const letter = this.#seen.get(ref)!.data as DeadLetter | null;
    if (letter === null) throw new DormouseError('document.missing', `there is no dead letter "${id}"`);
    return letter;
  }

  async run<I, R>(
    name: string,
    input: I,
    activity: (input: I, context: ActivityContext) => Promise<R>,
    { retry = {}, timeout, personal = false }: ActivityOptions = {},
  ): Promise<R> {
    this.#effect(`run activity "${name}"`);
    const policy = retryPolicy(`activity "${name}"`, retry, activityPolicy);
    if (this.#activities.has(name)) {
      throw new DormouseError(
        'step.activity-input',
        `activity "${name}" runs twice in one step; give each its own name`,
      );
    }
    this.#activities.add(name);
    const { store, random } = this.#ports;
    const idempotencyKey = activityKey(this.#origin.seed, name);
    const ref = activityRef(this.#origin.seed, { name, personal }, personal ? this.#workflow : undefined);
    this.#asked.set(ref, { name, personal });
    const hashOf = (salt: string | undefined) =>
      salt === undefined
        ? sha256(JSON.stringify(input) ?? 'undefined')
        : hmacSha256(salt, canonicalJson(input ?? null));
    const { delivery, tenant } = this.#origin;
    const taken = (record: Versioned): R => {
      if (record.version === null) refuseErased(this.#workflow);
      delivery?.activities.add(ref);
      if (record.data!.inputHash !== hashOf(record.data!.salt as string | undefined)) {
        throw new DormouseError(
          'step.activity-input',
          `activity "${name}" ran before with another input; derive its input from the event alone, or use another name`,
        );
      }
      return record.data!.result as R;
    };

    const [before, ...erased] = await this.#look([ref, ...(personal ? [erasedRef(this.#workflow)] : [])], personal);
    if (before!.version !== null) return taken(before!);
    if (erased.some(({ data }) => data !== null)) refuseErased(this.#workflow);
    // What happens outside may move documents: of what is not seen yet nothing counts that was read before.
    this.#prefetched.clear();
    const { clock } = this.#ports;
    const run = (signal: AbortSignal) =>
      insideActivity.run(name, () => activity(input, { idempotencyKey, signal, clock }));
    let result: R | null;
    try {
      const timeoutMs = timeout && durationMs(timeout, `activity "${name}": timeout`);
      const { signal } = this.#origin;
      result = (await (timeoutMs === undefined ? run(signal) : within(timeoutMs, name, signal, clock, run))) ?? null;
    } catch (error) {
      if (error instanceof Error) this.#failedActivities.set(error, policy);
      throw error;
    }
    const json = JSON.stringify(result);
    if (json === undefined || Buffer.byteLength(json) > maxResultBytes) {
      throw new DormouseError(
        'step.activity-result',
        `activity "${name}": its result must be JSON of at most ${maxResultBytes} bytes; keep it with step.files.put and return the reference`,
      );
    }
    const salt = personal ? newSalt(random) : undefined;
    const record = {
      ref,
      data: {
        name,
        inputHash: hashOf(salt),
        result: JSON.parse(json),
        ...(salt !== undefined && { salt }),
        ...(delivery && { inbox: delivery.inbox }),
      },
      // As long as its delivery may run again it is asked for, however late: whoever settles that settles this.
      ...(!delivery && { settledAt: clock.now() }),
    };
    // Not after the erasing: nobody would look there again.
    const reads = [{ ref, version: null }, ...erased];
    try {
      const unit = { tenant, reads, writes: [record], entries: [], journal: [], publish: [] };
      const { versions } = await store.commit(unit);
      if (!personal) this.#results.set(ref, { ref, version: versions[0]!, tenant, data: record.data });
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      // An overlapping run was first; its result is the one that counts.
      return taken((await store.get([ref]))[0]!);
    }
    delivery?.activities.add(ref);
    return record.data.result as R;
  }

  get #isFresh(): boolean {
    return this.#ports.clock.steady() - this.#begunAt < freshMs;
  }

  /** What was read ahead counts, where it holds a result, or was read just now; of what is personal, only then. */
  async #look(refs: readonly Ref[], personal: boolean): Promise<Versioned[]> {
    const ahead = refs.flatMap((ref) => this.#prefetched.get(ref) ?? []);
    const counts = ahead.length === refs.length && (this.#isFresh || (!personal && ahead[0]!.version !== null));
    return counts ? ahead : this.#ports.store.get(refs);
  }

  readonly files = {
    put: async (
      name: string,
      content: string | Uint8Array,
      { contentType = 'application/json', personal = false }: FileOptions = {},
    ): Promise<FileRef> => {
      const { blobs, random } = this.#ports;
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      const told = { name, bytes: bytes.byteLength, contentType };
      if (!personal) {
        const hash = sha256(bytes);
        const key = `${idOf(this.#workflow)}/${hash.slice(0, 20)}/${name}`;
        await blobs.put(key, bytes, contentType);
        return { key, ...told, sha256: hash };
      }
      const apart = `${personalFilesOf(this.#workflow)}${randomId(random)}`;
      const key = `${apart}/${name}`;
      const salt = newSalt(random);
      await Promise.all([
        blobs.put(saltKeyOf({ key })!, Buffer.from(salt), 'text/plain'),
        blobs.put(key, bytes, contentType),
      ]);
      // Whoever erases marks first, then removes. So a file of which he did not know was written after the mark.
      if (await this.#isErased()) {
        await blobs.removeAll(`${apart}/`);
        await blobs.removeAll(saltKeyOf({ key })!);
        refuseErased(this.#workflow);
      }
      return { key, ...told, sha256: fileHash(bytes, salt), personal };
    },
    read: async (file: FileRef): Promise<Uint8Array> => {
      // A reference may come from an event or an input: it opens no other workflow's files, so no other tenant's.
      if (!file.key.startsWith(`${idOf(this.#workflow)}/`)) {
        throw new DormouseError('blob.missing', `"${this.#workflow}" has no file "${file.key}"`);
      }
      try {
        return await readFile(this.#ports.blobs, file);
      } catch (error) {
        if (file.personal && (await this.#isErased())) refuseErased(this.#workflow);
        throw error;
      }
    },
    text: async (file: FileRef): Promise<string> => Buffer.from(await this.files.read(file)).toString(),
  };

  note(text: string): void {
    this.#note = text.slice(0, 1000);
  }

  defer(reason: string, options: DeferOptions = {}): never {
    this.#effect('defer');
    if (this.#origin.cause.kind === 'command') throw new DormouseError('command.refused', reason);
    void this.#workflow;
    this.#deferral = new Deferral(reason, options);
    this.close();
    throw this.#deferral;
  }

  get deferral(): Deferral | undefined {
    return this.#deferral;
  }

  /** What the handler asked for: documents, and results of activities. */
  get asked(): Iterable<Asked> {
    return this.#asked.values();
  }

  /** What this run knows that another may ask for. */
  get known(): Versioned[] {
    return [...this.#seen.values(), ...this.#results.values()];
  }

  /** The documents that it would write. */
  get written(): readonly Ref[] {
    return [...this.#written.keys()].filter((ref) => workflowOf(ref) !== undefined);
  }

  /** The step is over: any later effect is refused. */
  close(): void {
    this.#closed = true;
  }

  /** By what policy to try again after this error, where an activity of this step failed with it. */
  policyOf(error: unknown): RetryPolicy | undefined {
    return error instanceof Error ? this.#failedActivities.get(error) : undefined;
  }

  /** Preconditions of whatever is decided on what the handler has seen. */
  get reads(): UnitOfWork['reads'] {
    return [...this.#seen.values()].map(({ ref, version }) => ({ ref, version }));
  }

  /** Everything collected, as one commit. */
  unit(more: Pick<UnitOfWork, 'reads' | 'writes' | 'publish' | 'settles'>): UnitOfWork {
    this.close();
    const { cause, subject, tenant } = this.#origin;
    const draft = (chain: Ref, changes: EntryDraft['changes']): EntryDraft => ({
      chain,
      unit: derivedId(...this.#origin.seed, 'unit'),
      cause,
      changes,
      published: chain === subject ? this.#published.map(({ record }) => record) : [],
      cancelledTimers: chain === subject ? this.#cancelledTimers : [],
      ...(this.#note !== undefined && chain === subject && { note: this.#note }),
      startedAt: this.now,
      durationMs: Math.round(this.#ports.clock.steady() - this.#begunAt),
    });
    const changed = new Map<Ref, EntryDraft['changes']>();
    const writes: Write[] = [];
    for (const [ref, { data: value, personal, client, logged, ...times }] of this.#written) {
      const before = this.#seen.get(ref)?.data ?? null;
      const data = value && personal ? sealed(value, newSalt(this.#ports.random)) : value;
      if (personal) changed.set(ref, difference(commitmentOf(before), commitmentOf(data)));
      // One of a collection that was personal once has a commitment in its chain.
      else if (logged) changed.set(ref, difference(commitmentOf(before) ?? before, data));
      writes.push({ ref, data, ...times });
      if (client) writes.push(...moved(ref, before && client(before), data && client(data)));
    }
    if (subject && !changed.has(subject)) changed.set(subject, []);
    return {
      tenant,
      reads: [...this.reads, ...more.reads],
      writes: [...writes, ...more.writes],
      settles: [...this.#settled, ...(more.settles ?? [])],
      // The log is not logged: whoever listens to it would never come to an end.
      entries: isOfLog(cause) ? [] : [...changed].map(([ref, changes]) => draft(ref, changes)),
      journal: [],
      publish: [
        ...this.#published.filter(({ record }) => record.timer === undefined).map(({ message }) => message),
        ...this.#released,
        ...more.publish,
      ],
    };
  }

  async #read(refs: readonly Ref[]): Promise<void> {
    const missing: Ref[] = [];
    for (const ref of refs) {
      this.#asked.set(ref, ref);
      const prefetched = this.#isFresh ? this.#prefetched.get(ref) : undefined;
      if (prefetched && !this.#seen.has(ref)) this.#seen.set(ref, this.#own(prefetched));
      else if (!prefetched && !this.#seen.has(ref)) missing.push(ref);
    }
    if (missing.length === 0) return;
    for (const versioned of await this.#ports.store.get(missing)) {
      // Of two reads under way at once, the first to answer is the one the handler decides on.
      if (!this.#seen.has(versioned.ref)) this.#seen.set(versioned.ref, this.#own(versioned));
    }
  }

  /** As it is now; that it stays so is a precondition. */
  async #isErased(): Promise<boolean> {
    const ref = erasedRef(this.#workflow);
    const [mark] = await this.#ports.store.get([ref]);
    if (!this.#seen.has(ref)) this.#seen.set(ref, mark!);
    return mark!.data !== null;
  }

  /** Another tenant's document reads as absent; its version stays, as the precondition that nothing moved. */
  #own(found: Versioned): Versioned {
    return found.tenant === null || found.tenant === this.#origin.tenant ? found : { ...found, data: null };
  }

  #document<T>(ref: Ref, kind: Pick<PendingWrite, 'client' | 'personal'>): Document<T> {
    const current = () => (this.#written.has(ref) ? this.#written.get(ref)!.data : this.#copyOf(ref));
    const isErased = () => kind.personal && this.#seen.get(erasedRef(this.#workflow))!.data !== null;
    const present = () => {
      const data = current();
      if (data === null && isErased()) refuseErased(this.#workflow);
      if (data === null) throw new DormouseError('document.missing', `there is no document "${ref}"`);
      return data;
    };
    const write = (data: Record<string, unknown>) => {
      this.#effect(`write "${ref}"`);
      if (isErased()) refuseErased(this.#workflow);
      this.#written.set(ref, { data: withoutUndefined(data), ...kind, logged: true });
    };
    return {
      ref,
      id: idOf(ref),
      get exists() {
        return current() !== null;
      },
      get data() {
        return present() as T;
      },
      create(data) {
        if (current() !== null) throw new DormouseError('document.exists', `document "${ref}" exists already`);
        write(data as Record<string, unknown>);
      },
      update(patch) {
        write({ ...present(), ...(patch as Record<string, unknown>) });
      },
    };
  }

  /** What the handler gets: its own, so that the log's "before" stays what was read, whatever he does to it. */
  #copyOf(ref: Ref): Record<string, unknown> | null {
    // By way of text: structuredClone takes twice the time.
    if (!this.#copies.has(ref)) this.#copies.set(ref, JSON.parse(JSON.stringify(opened(this.#seen.get(ref)!.data))));
    return this.#copies.get(ref)!;
  }

  #effect(what: string): void {
    if (this.#closed)
      throw new DormouseError('step.closed', `cannot ${what}: the step is over; await everything the handler starts`);
    const activity = insideActivity.getStore();
    if (activity !== undefined) {
      throw new DormouseError(
        'step.effect-in-activity',
        `cannot ${what} inside activity "${activity}"; return a result and let the step act on it`,
      );
    }
  }
}

/** Whether a result may be recorded there, or erased, at any moment: what was read of it is soon out of date. */
export function isPassing({ ref, version }: Versioned): boolean {
  return ref.startsWith('activities/') && (version === null || ref.split('/').length > 2);
}

function activityKey(seed: readonly string[], name: string): string {
  return derivedId(...seed, 'activity', name);
}

/** Where the result of an activity is recorded. @param workflow whose personal data it is, of one that is personal */
export function activityRef(seed: readonly string[], { name, personal }: Activity, workflow?: Ref): Ref {
  return `${personal ? personalActivitiesOf(workflow!) : 'activities'}/${activityKey(seed, name)}`;
}

interface PendingWrite {
  readonly data: Record<string, unknown> | null;
  readonly dueAt?: number;
  readonly settledAt?: number;
  readonly logged: boolean;
  /** Its chain holds a commitment, no value. */
  readonly personal?: boolean;
  /** Of a workflow: whose it is. */
  readonly client?: ((data: Record<string, unknown>) => string | undefined) | undefined;
}

/** What says whose a workflow is goes with it from one client to another. */
function moved(workflow: Ref, from: string | undefined | null, to: string | undefined | null): Write[] {
  if ((from ?? undefined) === (to ?? undefined)) return [];
  return [
    ...(from ? [{ ref: clientLink(from, workflow), data: null }] : []),
    ...(to ? [{ ref: clientLink(to, workflow), data: { workflow } }] : []),
  ];
}

/** What it gives later than that is lost: it comes again under the same key. */
async function within<R>(
  timeoutMs: number,
  activity: string,
  deadline: AbortSignal,
  clock: Clock,
  run: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const timeUp = new AbortController();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const cancel = clock.after(timeoutMs, () => {
    const error = new Error(`activity "${activity}" gave no result within ${timeoutMs / 1000} s`);
    timeUp.abort(error);
    reject(error);
  });
  try {
    return await Promise.race([run(AbortSignal.any([deadline, timeUp.signal])), late]);
  } finally {
    cancel();
  }
}

/** @throws DormouseError `step.publish-invalid` */
function acceptable(message: Message): Message {
  const problem = messageProblem(message);
  if (problem === undefined) return message;
  throw new DormouseError('step.publish-invalid', `publish to "${message.topic}": ${problem}`);
}

function withoutUndefined(data: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(data)) as Record<string, unknown>;
}
