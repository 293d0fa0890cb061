import { type Delivery, type DeliveryMarks, eventIdOf } from './envelope.ts';
import type { Landmarks } from './foresight.ts';
import { derivedId } from './ids.ts';
import { activitiesOf } from './inbox.ts';
import { Knowledge } from './knowledge.ts';
import { type Cause, isOfLog, type JournalDraft } from './log.ts';
import type { Logger } from './logger.ts';
import { eventKeyOf, inboxRef } from './order.ts';
import type { Service, Subscription } from './service.ts';
import { idOf, type Ref, type Versioned } from './state-store.ts';
import { activityRef, type StepPorts } from './step.ts';
import { defaultTenant } from './tenant.ts';
import { workflowOf } from './workflow.ts';

export interface DeliveryPorts extends StepPorts {
  /** Name of the system, as in an event's source `//dormouse/<system>/<service>`. */
  readonly system: string;
  readonly log: Logger;
}

/** Where the memory of a delivery is. */
export function deliveryRef(subscription: string, delivery: Pick<Delivery, 'message' | 'messageId'>): Ref {
  return inboxRef(subscription, eventKeyOf(delivery));
}

/** One attempt at a delivery: what is the same in all its runs, and what each of their commits says, whatever became of it. */
export class Attempt {
  readonly subscription: Subscription;
  readonly delivery: Delivery;
  readonly marks: DeliveryMarks;
  readonly ports: DeliveryPorts;
  /** From 1. */
  readonly number: number;
  /** Of the event. */
  readonly id: string;
  /** The workflow that the event says it is about, whoever's that is. */
  readonly about: Ref | undefined;
  readonly inbox: Ref;
  /** Of what it publishes. */
  readonly source: string;
  readonly cause: Cause;
  /** Recorded results of activities that its runs left or took. */
  readonly activities = new Set<Ref>();
  readonly known = new Knowledge();
  readonly #startedAt: number;
  /** The same by the steady clock. */
  readonly #begunAt: number;

  constructor(
    service: Service,
    subscription: Subscription,
    delivery: Delivery,
    marks: DeliveryMarks,
    ports: DeliveryPorts,
  ) {
    const { attributes } = delivery.message;
    this.subscription = subscription;
    this.delivery = delivery;
    this.marks = marks;
    this.ports = ports;
    this.number = marks.attempt ?? 1;
    this.id = eventIdOf(delivery);
    this.about = workflowOf(attributes['ce-subject'] ?? '');
    this.inbox = deliveryRef(subscription.name, delivery);
    this.source = `//dormouse/${ports.system}/${service.name}`;
    this.cause = {
      kind: 'event',
      id: this.id,
      topic: subscription.topic.name,
      subscription: subscription.name,
      attempt: this.number,
      from: attributes['ce-source'] ?? '//pubsub',
    };
    this.#startedAt = ports.clock.now();
    this.#begunAt = ports.clock.steady();
  }

  /** So far. */
  get durationMs(): number {
    return Math.round(this.ports.clock.steady() - this.#begunAt);
  }

  get landmarks(): Landmarks {
    const { attributes } = this.delivery.message;
    const [tenant, source] = [attributes['ce-tenant'] ?? defaultTenant, attributes['ce-source'] ?? '//pubsub'];
    const seed = [this.subscription.name, tenant, source, this.id];
    return {
      subject: attributes['ce-subject'],
      activityRef: (activity) =>
        activity.personal && this.about === undefined ? undefined : activityRef(seed, activity, this.about),
    };
  }

  /** Results of activities of this delivery: they are kept until it is settled. */
  recorded({ data }: Versioned): Ref[] {
    return [...new Set([...activitiesOf(data), ...this.activities])];
  }

  /** What it remembers beside its state while it is not settled. */
  remembered(inbox: Versioned): Record<string, unknown> {
    const activities = this.recorded(inbox);
    return {
      ...inbox.data,
      // The timer that its message came from stays while this waits.
      ...(this.marks.timer && { timer: this.marks.timer.ref }),
      ...(activities.length > 0 && { activities }),
    };
  }

  /** How it ended, for the journal, where it changed nothing. */
  journal(ended: Pick<JournalDraft, 'workflow' | 'moment' | 'error' | 'decision' | 'published'>): JournalDraft[] {
    if (isOfLog(this.cause)) return [];
    const unit = derivedId(idOf(this.inbox), this.number);
    const { inbox, cause, durationMs } = this;
    return [{ ...ended, inbox, unit, cause, startedAt: this.#startedAt, durationMs }];
  }
}
