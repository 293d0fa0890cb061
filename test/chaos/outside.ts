import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const effectKinds = ['mail', 'sms', 'submission', 'answer', 'withdrawal'] as const;
export type EffectKind = (typeof effectKinds)[number];

/** A line of the sandbox's record, as far as it is looked at here. */
interface Line {
  readonly kind: EffectKind;
  readonly key?: string;
  readonly workflowId?: string;
  readonly repeat?: true;
  readonly to?: string | readonly string[];
  readonly subject?: string;
  readonly text?: string;
  readonly reference?: string;
  readonly letterId?: string;
  readonly submissionId?: string;
}

export interface Effects {
  readonly effects: Readonly<Record<EffectKind, number>>;
  readonly repeats: Readonly<Record<EffectKind, number>>;
}

/** What happened to the outside world, read from the file that survives every kill: `sandbox.jsonl`. */
export class Outside {
  readonly #lines: readonly Line[];
  /** Lines that a kill cut short. */
  readonly torn: number;

  private constructor(lines: readonly Line[], torn: number) {
    this.#lines = lines;
    this.torn = torn;
  }

  static read(data: string): Outside {
    const path = join(data, 'sandbox.jsonl');
    const texts = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
    const lines = texts.flatMap((text): Line[] => {
      try {
        return [JSON.parse(text)];
      } catch {
        return [];
      }
    });
    return new Outside(lines, texts.length - lines.length);
  }

  of(workflowId: string): Effects {
    return count(this.#lines.filter((line) => line.workflowId === workflowId));
  }

  all(): Effects {
    return count(this.#lines);
  }

  /** What happened twice: by its key, or under two keys. */
  problems(): string[] {
    const problems: string[] = [];
    const seen = new Map<string, string>();
    const once = (what: string, line: Line) => {
      if (seen.has(what)) problems.push(`${what} happened twice, with keys ${seen.get(what)} and ${line.key}`);
      seen.set(what, line.key ?? 'none');
    };
    for (const line of this.#lines) {
      const { kind, key, repeat, workflowId } = line;
      if (key === undefined) problems.push(`a ${kind} of ${workflowId} has no idempotency key`);
      if (repeat) {
        if (!seen.has(`${kind} ${key}`)) problems.push(`a repeat of ${kind} ${key} has no first`);
        continue;
      }
      once(`${kind} ${key}`, line);
      const { to, subject, text, reference, submissionId, letterId } = line;
      const content = {
        mail: [to, subject],
        sms: [to, text],
        submission: [reference],
        answer: [submissionId],
        withdrawal: [letterId],
      };
      once(JSON.stringify([kind, workflowId, ...content[kind]]), line);
    }
    return problems;
  }
}

function count(lines: readonly Line[]): Effects {
  const of = (repeat: boolean) =>
    Object.fromEntries(
      effectKinds.map((kind) => [
        kind,
        lines.filter((line) => line.kind === kind && (line.repeat ?? false) === repeat).length,
      ]),
    ) as Record<EffectKind, number>;
  return { effects: of(false), repeats: of(true) };
}
