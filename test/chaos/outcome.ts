import { isDeepStrictEqual } from 'node:util';
import { type HistoryEntry, readHistory } from './history.ts';
import type { EffectKind, Outside } from './outside.ts';
import type { Subject } from './subject.ts';

/** What becomes of a case, as far as it is the same each time. */
export interface Outcome {
  readonly status: string;
  readonly reasons: readonly string[];
  readonly findings: readonly unknown[];
  readonly letters: readonly unknown[];
  /** Events published at once, by topic. */
  readonly published: Readonly<Record<string, number>>;
  readonly effects: Readonly<Record<EffectKind, number>>;
}

interface Letter {
  readonly id: string;
  readonly merchant: string;
  readonly amountMinor: number;
  readonly status: string;
  readonly reminders?: number;
}

/** The outcome of a case, and what its log does not bear out. */
export async function readOutcome(
  subject: Subject,
  id: string,
  outside: Outside,
): Promise<{ readonly outcome: Outcome; readonly problems: string[] }> {
  const { events } = await subject.get<{ events: HistoryEntry[] }>(`/api/workflows/${id}/events`);
  const history = readHistory(events);
  type Case = { status: string; reasons?: string[]; processing?: { findings: { name: string } } };
  const found = await subject.get<Case>(`/api/workflows/${id}`);
  const letters = (await subject.get<{ documents: Letter[] }>(`/api/workflows/${id}/documents/letters`)).documents;
  type Ground = { outcome: string; reasons: string[] };
  const { documents: grounds } = await subject.get<{ documents: Ground[] }>(`/api/workflows/${id}/documents/grounds`);
  const folded = history.documents;
  const problems = [
    ...history.problems,
    ...differences('fold of the log', folded.get(`workflows/${id}`), found),
    ...letters.flatMap((letter) =>
      differences(`fold of letter ${letter.id}`, folded.get(`workflows/${id}/letters/${letter.id}`), letter),
    ),
  ];
  const file = found.processing?.findings.name;
  const findings = file ? await subject.get<unknown[]>(`/api/workflows/${id}/files/${file}`) : [];
  // Whether a deadline is set depends on who is faster, the answer or the note that a letter was handed in.
  const published = history.published.filter(({ timer }) => timer === undefined);
  return {
    problems,
    outcome: {
      status: found.status,
      // Every start of the sandbox has another port.
      reasons: [...(found.reasons ?? []), ...grounds.flatMap(({ reasons }) => reasons)].map((reason) =>
        reason.replace(/127\.0\.0\.1:\d+/, '127.0.0.1'),
      ),
      findings: sorted(findings),
      letters: sorted(
        letters.map(({ merchant, amountMinor, status, reminders = 0 }) => ({
          merchant,
          amountMinor,
          status,
          reminders,
        })),
      ),
      published: Object.fromEntries(
        Map.groupBy(published, ({ topic }) => topic)
          .entries()
          .map(([topic, events]) => [topic, events.length]),
      ),
      effects: outside.of(id).effects,
    },
  };
}

/** Where two values differ, each place in a line. */
export function differences(what: string, given: unknown, wanted: unknown): string[] {
  if (isDeepStrictEqual(given, wanted)) return [];
  if (!isObject(given) || !isObject(wanted)) {
    return [`${what}: ${JSON.stringify(given)} where ${JSON.stringify(wanted)} is wanted`];
  }
  const names = new Set([...Object.keys(given), ...Object.keys(wanted)]);
  return [...names].flatMap((name) => differences(`${what}.${name}`, given[name], wanted[name]));
}

/** Their order is not promised. */
export function sorted(list: readonly unknown[]): unknown[] {
  return list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
