import { auditLog, type Delivery, type Message, type UnitOfWork } from '@dormouse/core';
import type { Task } from './tasks.ts';

/** What a unit did, as the store took it. */
export interface CommittedUnit {
  readonly unit: UnitOfWork;
  /** What its step was woken by; undefined of a command. */
  readonly delivery: Delivery | undefined;
}

/** Something that was done outside under an idempotency key. */
export interface OutsideEffect {
  readonly to: string;
  readonly key: string;
  /** What was asked for, where the caller says so. */
  readonly content: string | undefined;
}

/** Sees what really happens, behind all faults: not what the system has written down of itself. */
export class Witness {
  /** In the order of their commits. */
  readonly units: CommittedUnit[] = [];
  /** Deliveries that the service has settled, whether or not the broker learnt of it. */
  readonly settled: Delivery[] = [];
  readonly effects: OutsideEffect[] = [];
  /** What left before it was committed. */
  readonly early: Message[] = [];
  readonly #committed = new Set<string>();
  readonly #deliveries = new WeakMap<Task, Delivery>();

  delivering(delivery: Delivery, task: Task): void {
    this.#deliveries.set(task, delivery);
  }

  committed(unit: UnitOfWork, task: Task): void {
    this.units.push({ unit, delivery: this.#deliveries.get(task) });
    for (const { attributes } of unit.publish) this.#committed.add(attributes['ce-id'] ?? '');
  }

  publishing(topic: string, messages: readonly Omit<Message, 'topic'>[]): void {
    if (topic === auditLog.name) return;
    const early = messages.filter(({ attributes }) => !this.#committed.has(attributes['ce-id'] ?? ''));
    this.early.push(...early.map((message) => ({ ...message, topic })));
  }
}
