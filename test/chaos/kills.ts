import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { kill } from '../system/process-family.ts';
import { type EffectKind, effectKinds } from './outside.ts';
import type { Seeded } from './seeded.ts';
import type { Victim } from './victim.ts';

/** Who dies: one process of a service, all of them, the host alone, or all at once. */
export const targets = ['service', 'services', 'host', 'everything'] as const;
export type Target = (typeof targets)[number];

/**
 * When: so long after the last; while the host that died before is coming up; right after a commit that publishes to a
 * topic; right after something happened outside, whose sender does not know it yet.
 */
export type Moment =
  | { readonly kind: 'after'; readonly ms: number }
  | { readonly kind: 'starting'; readonly ms: number }
  | { readonly kind: 'commit'; readonly topic: string }
  | { readonly kind: 'effect'; readonly of: EffectKind };

export interface Kill {
  readonly target: Target;
  readonly moment: Moment;
}

/** A moment that does not come is made up for by now. */
const patienceMs = 3_000;
const topics = [
  'workflow.initiate',
  'data.fetch',
  'data.analyze',
  'document.generate',
  'document.submit',
  'workflow.track',
  'response.received',
  'compliance.review',
  'workflow.complete',
  'notify.client',
];

export function planKills(random: Seeded): Kill[] {
  return Array.from({ length: random.between(1, 3) }, (_, index) => {
    const target = random.pick(targets);
    const kinds = ['after', 'after', 'commit', 'effect', ...(index > 0 ? ['starting' as const] : [])] as const;
    const kind = random.pick(kinds);
    const moment = { after: random.between(0, 2_500), starting: random.between(0, 900) };
    if (kind === 'commit') return { target, moment: { kind, topic: random.pick(topics) } };
    if (kind === 'effect') return { target, moment: { kind, of: random.pick(effectKinds) } };
    return { target, moment: { kind, ms: moment[kind] } };
  });
}

export function describeKill({ target, moment }: Kill): string {
  switch (moment.kind) {
    case 'after':
      return `${target} after ${moment.ms} ms`;
    case 'starting':
      return `${target} ${moment.ms} ms into a start`;
    case 'commit':
      return `${target} at a commit that publishes ${moment.topic}`;
    case 'effect':
      return `${target} at a ${moment.of}`;
  }
}

/** Waits for the moment and kills. True where the host is gone. */
export async function carryOut({ target, moment }: Kill, victim: Victim, random: Seeded): Promise<boolean> {
  await reached(moment, victim);
  const hostDies = target === 'host' || target === 'everything';
  const services = victim.services().map(({ pid }) => pid);
  const doomed = {
    service: services.length > 0 ? [random.pick(services)] : [],
    services,
    host: [victim.hostPid],
    everything: [victim.hostPid, ...services],
  }[target];
  for (const pid of doomed) kill(pid, 'SIGKILL');
  if (hostDies) await victim.hostExited();
  return hostDies;
}

async function reached(moment: Moment, victim: Victim): Promise<void> {
  if (moment.kind === 'after' || moment.kind === 'starting') return pause(moment.ms);
  using watch =
    moment.kind === 'effect'
      ? new EffectWatch(join(victim.data, 'sandbox.jsonl'), moment.of)
      : new CommitWatch(join(victim.data, 'dormouse.db'), moment.topic);
  const giveUpAt = performance.now() + patienceMs;
  const before = watch.seen();
  while (performance.now() < giveUpAt && watch.seen() === before) await pause(1);
}

/** How many effects of a kind the sandbox has written down. */
class EffectWatch implements Disposable {
  readonly #path: string;
  readonly #mark: string;
  #end = 0;
  #count = 0;

  constructor(path: string, kind: EffectKind) {
    this.#path = path;
    this.#mark = `"kind":"${kind}"`;
  }

  seen(): number {
    const end = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    if (end === this.#end) return this.#count;
    const file = openSync(this.#path, 'r');
    const buffer = Buffer.alloc(end - this.#end);
    readSync(file, buffer, 0, buffer.length, this.#end);
    closeSync(file);
    this.#end = end;
    this.#count += buffer.toString('latin1').split(this.#mark).length - 1;
    return this.#count;
  }

  [Symbol.dispose](): void {}
}

/** How far a topic's log is, by the file itself: a commit shows there before its sync, and before anyone is told of it. */
class CommitWatch implements Disposable {
  readonly #path: string;
  readonly #topic: string;
  #database: DatabaseSync | undefined;
  #last = 0;

  constructor(path: string, topic: string) {
    this.#path = path;
    this.#topic = `projects/dormouse/topics/${topic}`;
  }

  seen(): number {
    try {
      // Only to read: it must not tidy up after a host that was killed.
      this.#database ??= new DatabaseSync(this.#path, { readOnly: true });
      const end = 'SELECT max(last) AS end FROM batch JOIN topic ON topic.id = batch.topic WHERE topic.name = ?';
      this.#last = Number(this.#database.prepare(end).get(this.#topic)?.end ?? 0);
    } catch {
      // In recovery, or busy.
      this[Symbol.dispose]();
    }
    return this.#last;
  }

  [Symbol.dispose](): void {
    this.#database?.close();
    this.#database = undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
