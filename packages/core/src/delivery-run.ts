import type { Attempt } from './attempt.ts';
import { commitUnit } from './commit.ts';
import { Deferral, waking } from './deferral.ts';
import { deferredAttempt } from './deferred-attempt.ts';
import { decodeMessage, type Envelope, messageToKeep } from './envelope.ts';
import { ConflictError, DormouseError } from './errors.ts';
import { failedAttempt } from './failed-attempt.ts';
import { settled } from './inbox.ts';
import type { Place } from './order.ts';
import type { Owner } from './owner.ts';
import type { Subscription } from './service.ts';
import { following, hasWaited, preconditions, type Standing, standingOf } from './standing.ts';
import type { Ref, UnitOfWork, Versioned, Write } from './state-store.ts';
import { RunningStep } from './step.ts';
import { checkData } from './topic.ts';
import type { Turn, Turns } from './turns.ts';

/** Runs of one delivery on fresh reads, when what it read keeps moving. */
const maxRuns = 8;
/** Left of the ack deadline for the commit. */
const commitMarginMs = 2_000;

/** One delivery, from the message to its commit. */
export class DeliveryRun {
  readonly #attempt: Attempt;
  /** The handler has run to its end: what is committed are its effects, not its failure. */
  #hasHandled = false;
  readonly #turns: Turns;
  /** What the last run of the handler has asked for, and recorded. */
  #seen: readonly Versioned[] = [];

  constructor(attempt: Attempt, turns: Turns) {
    this.#attempt = attempt;
    this.#turns = turns;
  }

  async settle(): Promise<void> {
    // One deadline for all runs of this delivery: the wire does not wait longer because we ran twice.
    const deadline = new AbortController();
    const { ports, subscription } = this.#attempt;
    const cancel = ports.clock.after(subscription.ackDeadlineMs - commitMarginMs, () => deadline.abort());
    try {
      await this.#untilSettled(deadline.signal);
    } finally {
      cancel();
    }
  }

  async #untilSettled(signal: AbortSignal): Promise<void> {
    let turn: Turn | undefined;
    const take = async (): Promise<boolean> => {
      const { about, ports } = this.#attempt;
      // Where the store is near, a run more costs little.
      if (turn || about === undefined || !ports.foresight) return false;
      turn = await this.#turns.take(about, signal);
      return turn.hasWaited;
    };
    try {
      await this.#runs(signal, take);
    } finally {
      turn?.end();
    }
  }

  /**
   * @param inTurn resolves when a run after a conflict may begin, and to whether others ran meanwhile: of many that meet again and
   * again, all but one would run for nothing
   */
  async #runs(signal: AbortSignal, inTurn: () => Promise<boolean>): Promise<void> {
    const { ports } = this.#attempt;
    for (let run = 1; ; run++) {
      const standing = await standingOf(this.#attempt);
      try {
        const unit = await this.#unit(standing, signal);
        if (!unit) return;
        await commitUnit(ports, unit);
        if (this.#hasHandled) this.#tell();
        return;
      } catch (error) {
        if (error instanceof ConflictError && run < maxRuns && !signal.aborted) {
          const { inbox, deferrals, timer, place } = standing;
          const own = [inbox, deferrals, timer, place?.line].flatMap((each) => each?.ref ?? []);
          // What the store has told is out of date where others had their turn meanwhile.
          const found = (await inTurn()) ? [] : error.found;
          this.#attempt.known.renew(found, this.#seen, new Set(own));
          continue;
        }
        await commitUnit(ports, await failedAttempt(this.#attempt, standing, refusal(error, run), []));
        return;
      }
    }
  }

  /** What is to be committed; undefined where nothing is. */
  async #unit(standing: Standing, signal: AbortSignal): Promise<UnitOfWork | undefined> {
    const { inbox, timer, place, owner } = standing;
    this.#hasHandled = false;
    if (this.#isTried(inbox)) {
      await this.#sendLeft();
      return inbox.data!.state === 'settled' ? this.#passOn(standing) : undefined;
    }
    if (this.#isReplaced(timer, owner)) return this.#letGo(standing, timer);
    if (place?.isBehind) return this.#heldBehind(standing, place);
    return this.#run(standing, signal);
  }

  /** Who ran it before may have died between its commit and its publish. */
  async #sendLeft(): Promise<void> {
    const { about, ports } = this.#attempt;
    if (about !== undefined) await ports.relay?.drain({ workflow: about });
  }

  #tell(): void {
    const { ports, subscription, id, about, number, durationMs } = this.#attempt;
    ports.log.info('step.committed', {
      subscription: subscription.name,
      event: id,
      workflow: about,
      attempt: number,
      durationMs,
    });
  }

  /** Settled before, or an attempt that another message already made. */
  #isTried(inbox: Versioned): boolean {
    const lastAttempt = (inbox.data?.attempt as number | undefined) ?? 0;
    return inbox.data?.state === 'settled' || lastAttempt >= this.#attempt.number;
  }

  /** Comes from a timer that was set anew or cancelled since. */
  #isReplaced(timer: Versioned | undefined, { tenant }: Owner): timer is Versioned {
    if (timer === undefined) return false;
    return timer.data?.generation !== this.#attempt.marks.timer!.generation || timer.tenant !== tenant;
  }

  /** Nothing is left to do. If it was redriven, its dead letter is told; if others wait behind it, they are. */
  async #letGo(standing: Standing, timer: Versioned): Promise<UnitOfWork | undefined> {
    const { store, clock } = this.#attempt.ports;
    const { inbox, deferrals, owner } = standing;
    const { tenant } = owner;
    const resolved = await this.#resolved(inbox);
    const next = await following(standing, this.#attempt);
    // What it has decided before is over, too: a retry that has come, a dead letter.
    if (inbox.data === null && resolved.length === 0 && next.writes.length === 0) return undefined;
    const unparked = await waking(store, deferrals, tenant, [], hasWaited(standing));
    const writes = [settled(inbox.ref, clock.now()), ...resolved, ...next.writes, ...unparked.writes];
    const reads = [...preconditions(standing), timer, ...unparked.reads];
    const settles = this.#attempt.recorded(inbox);
    return { tenant, reads, writes, settles, ...nothingElse, publish: next.publish };
  }

  /** Settled before, but its turn it is: those behind it go on. */
  async #passOn(standing: Standing): Promise<UnitOfWork | undefined> {
    const { writes, publish } = await following(standing, this.#attempt);
    if (writes.length === 0) return undefined;
    return { tenant: standing.owner.tenant, reads: preconditions(standing), writes, ...nothingElse, publish };
  }

  /** It joins the line, once. */
  #heldBehind(standing: Standing, place: Place): UnitOfWork | undefined {
    const { inbox, owner } = standing;
    if (inbox.data?.state === 'held') return undefined;
    const { subscription, delivery, ports, id, about } = this.#attempt;
    const at = ports.clock.now();
    const memory = { ref: inbox.ref, data: { ...this.#attempt.remembered(inbox), state: 'held', at } };
    const message = messageToKeep(delivery, subscription.topic);
    ports.log.info('delivery.held', { subscription: subscription.name, event: id, workflow: about });
    const writes = [memory, ...place.held(message, at)];
    return { tenant: owner.tenant, reads: preconditions(standing), writes, ...nothingElse, publish: [] };
  }

  /** Runs the handler, to what must be committed: its effects, or what follows from its failure. */
  async #run(standing: Standing, signal: AbortSignal): Promise<UnitOfWork> {
    const attempt = this.#attempt;
    const { ports, subscription } = attempt;
    const { topic, handler, name } = subscription;
    const { inbox, deferrals, owner } = standing;
    const { tenant } = owner;
    let step: RunningStep | undefined;
    try {
      if (owner.refused) throw owner.refused;
      const decoded = decodeMessage(attempt.delivery, topic);
      const event = { ...decoded, tenant, data: this.#checked(decoded) };
      const origin = {
        seed: [name, tenant, event.source, event.id],
        cause: attempt.cause,
        source: attempt.source,
        subject: event.subject,
        tenant,
        traceparent: event.traceparent,
        attempt: attempt.number,
        signal,
        consumedTimer: attempt.marks.timer?.ref,
        delivery: { inbox: inbox.ref, activities: attempt.activities },
      };
      step = new RunningStep(origin, ports, attempt.known.documents);
      await beforeDeadline(handler(event, step), signal, subscription);
      if (step.deferral) throw step.deferral;
      this.#hasHandled = true;
      await step.conclude();
      ports.foresight?.learn(name, attempt.landmarks, step.asked);
      const resolved = await this.#resolved(inbox);
      const next = await following(standing, attempt);
      const woken = await waking(ports.store, deferrals, tenant, step.written, hasWaited(standing));
      return step.unit({
        reads: [...preconditions(standing), ...woken.reads],
        writes: [settled(inbox.ref, ports.clock.now()), ...resolved, ...next.writes, ...woken.writes],
        settles: attempt.recorded(inbox),
        publish: [...next.publish, ...woken.publish],
      });
    } catch (error) {
      if (error instanceof ConflictError) throw error;
      if (error instanceof DormouseError && error.code === 'store.unavailable') throw error;
      const seen = step?.reads ?? [];
      if (error instanceof Deferral) return await deferredAttempt(attempt, standing, error, seen);
      return await failedAttempt(attempt, standing, error, seen, step?.policyOf(error));
    } finally {
      step?.close();
      this.#seen = step?.known ?? [];
    }
  }

  /** The dead letter that this delivery was redriven from, if it was. */
  async #resolved(inbox: Versioned): Promise<Write[]> {
    const { store, clock } = this.#attempt.ports;
    const ref = inbox.data?.deadLetter as Ref | undefined;
    if (ref === undefined) return [];
    const [letter] = await store.get([ref]);
    return [{ ref, data: { ...letter!.data, state: 'resolved', resolvedAt: clock.now() } }];
  }

  #checked(event: Envelope): unknown {
    const { topic } = this.#attempt.subscription;
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
}

const nothingElse = { entries: [], journal: [] } as const;

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
