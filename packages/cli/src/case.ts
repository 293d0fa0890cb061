import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Trace } from '@dormouse/console';
import type { FileRef, Problem } from '@dormouse/core';
import { accessOf } from './access.ts';
import { readInput } from './case-input.ts';
import type { Command } from './command-line.ts';
import { ConsoleClient, HostAway } from './console-client.ts';
import { untilInterrupted } from './interrupt.ts';
import { paint, span } from './paint.ts';
import { consoleOptions, dataFolder, durationOption, hostOptions, hostOptionsOf } from './settings.ts';
import { type Reach, SystemElsewhere, SystemInReach } from './system-in-reach.ts';
import { finalStatuses, timelineOf } from './timeline.ts';
import { UsageError } from './usage-error.ts';

/** What `--json` prints. */
interface CaseResult {
  readonly workflowId: string | null;
  readonly status: string;
  readonly reasons: readonly string[];
  readonly findings: readonly unknown[];
  /** Absolute paths of PDF files that stay; of a system elsewhere, where its console has them. */
  readonly letters: readonly string[];
  /** Events published on behalf of the case. */
  readonly events: number;
  readonly durationMs: number;
}

const exitCodes: Readonly<Record<string, number>> = { closed: 0, rejected: 2, escalated: 3, cancelled: 4 };
const deadlinePassed = 5;

export const caseCommand: Command = {
  summary: 'The main job: opens a case from a file and follows it to its end.',
  usage: 'FILE [options]',
  maxArguments: 1,
  options: {
    ...hostOptions,
    ...consoleOptions,
    deadline: { type: 'string', value: 'DURATION', description: 'how long to follow it (default 120s)' },
    currency: { type: 'string', value: 'CODE', description: 'of a CSV statement (default EUR)' },
  },
  async run([file], options) {
    if (!file) throw new UsageError('case needs a FILE: a case request, or a statement as JSON or CSV');
    const startedAt = performance.now();
    const json = options.json === true;
    const elapsed = () => Math.round(performance.now() - startedAt);
    const deadlineMs = durationOption(options, 'deadline', '120s');
    const input = await readInput(file, options.currency as string | undefined);
    if ('problems' in input) return refused(input.problems, file, json, elapsed());
    if (input.kind === 'statement') {
      process.stderr.write('a bare statement: with a client, consent and payment of the sandbox, to try it out\n');
    }
    const elsewhere = ConsoleClient.elsewhere(options);
    const system = elsewhere
      ? new SystemElsewhere(elsewhere)
      : new SystemInReach(hostOptionsOf(undefined, options), accessOf(options));
    const letterAt = elsewhere
      ? ({ name }: FileRef, workflowId: string) =>
          `${elsewhere.url}/api/workflows/${workflowId}/files/${encodeURIComponent(name)}`
      : ({ key }: FileRef) => join(dataFolder(options), 'files', key);
    const over = new AbortController();
    const timer = setTimeout(() => over.abort('deadline'), deadlineMs);
    void untilInterrupted().then(() => over.abort('interrupted'));
    try {
      const created = await open(system, JSON.stringify(input.request), over.signal);
      if (created.status !== 201) {
        const problems = (created.body.problems as Problem[] | undefined) ?? [
          { path: '', message: String(created.body.detail) },
        ];
        return refused(problems, file, json, elapsed());
      }
      const workflowId = String(created.body.workflowId);
      if (!json) process.stdout.write(`case ${paint('bold', workflowId)}\n`);
      const followed = await follow(system, workflowId, letterAt, over.signal, json);
      const result: CaseResult = { workflowId, ...followed, durationMs: elapsed() };
      const interrupted = over.signal.reason === 'interrupted';
      if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
      else report(result, deadlineMs, interrupted);
      if (interrupted) return 1;
      return finalStatuses.has(result.status) ? (exitCodes[result.status] ?? 1) : deadlinePassed;
    } finally {
      clearTimeout(timer);
      await system.stop();
    }
  },
};

/** Asks until there is an answer: a host that goes away meanwhile may have opened the case, and opens no second one. */
async function open(system: Reach, request: string, signal: AbortSignal) {
  const key = crypto.randomUUID();
  for (;;) {
    const client = await system.console(signal);
    try {
      const answer = await client.post('/api/workflows/create', request, key);
      if (answer.status !== 503 || signal.aborted) return answer;
    } catch (error) {
      // What fetch throws where the other side went away.
      if (!(error instanceof TypeError) || signal.aborted) throw error;
    }
  }
}

type Outcome = Omit<CaseResult, 'workflowId' | 'durationMs'>;
type LetterAt = (file: FileRef, workflowId: string) => string;

/** Follows to the end or the signal. A system that another command had started and stops is replaced by one of our own. */
async function follow(
  system: Reach,
  workflowId: string,
  letterAt: LetterAt,
  signal: AbortSignal,
  quiet: boolean,
): Promise<Outcome> {
  for (let told = 0; ; ) {
    const client = await system.console(signal);
    try {
      let events = 0;
      let entries = 0;
      let status = 'unknown';
      for await (const followed of untilAborted(client.follow(workflowId, signal), signal)) {
        if (followed.event === 'workflow') {
          status = String(followed.data.status);
          // Over, but the last messages (the client is told) may still be on their way.
          if (finalStatuses.has(status) && (await isQuiet(client, workflowId))) break;
          continue;
        }
        events += followed.data.entry.published.length;
        if (++entries <= told) continue;
        told = entries;
        if (!quiet) progress(timelineOf(followed.data), status, events);
      }
      if (finalStatuses.has(status) || signal.aborted)
        return { ...(await resultOf(client, workflowId, letterAt)), events };
    } catch (error) {
      // What fetch throws where the other side went away; or it is about to go.
      if (!(error instanceof TypeError || error instanceof HostAway)) throw error;
    } finally {
      if (process.stdout.isTTY && !quiet) process.stdout.write('\r\u001b[K');
    }
  }
}

/** Ends, instead of throwing, when the signal does. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function isQuiet(client: ConsoleClient, workflowId: string): Promise<boolean> {
  const { rows } = await client.get<Trace>(`/api/workflows/${workflowId}/trace`);
  return rows.every(({ status }) => status !== 'published');
}

/** On a terminal one line that is written over, elsewhere a line an event. */
function progress(lines: readonly string[], status: string, events: number): void {
  if (!process.stdout.isTTY) {
    for (const line of lines) process.stdout.write(`  ${line}\n`);
  } else if (lines.length > 0) {
    const plain = `${status} · ${events} events · ${stripVTControlCharacters(lines.at(-1)!)}`;
    process.stdout.write(`\r\u001b[K${plain.slice(0, (process.stdout.columns || 80) - 1)}`);
  }
}

async function resultOf(
  client: ConsoleClient,
  workflowId: string,
  letterAt: LetterAt,
): Promise<Pick<CaseResult, 'status' | 'reasons' | 'findings' | 'letters'>> {
  const found = await client.get<{ status: string; reasons?: string[]; processing?: { findings?: FileRef } }>(
    `/api/workflows/${workflowId}`,
  );
  const letters = await client.all<{ file?: FileRef }>(`/api/workflows/${workflowId}/documents/letters`, 'documents');
  const grounds = await client.all<{ outcome: string; reasons: string[] }>(
    `/api/workflows/${workflowId}/documents/grounds`,
    'documents',
  );
  const findings = found.processing?.findings;
  return {
    status: found.status,
    reasons: grounds.find(({ outcome }) => outcome === found.status)?.reasons ?? found.reasons ?? [],
    findings: findings
      ? await client.get<unknown[]>(`/api/workflows/${workflowId}/files/${encodeURIComponent(findings.name)}`)
      : [],
    letters: letters.flatMap(({ file }) => (file ? [letterAt(file, workflowId)] : [])).sort(),
  };
}

function refused(problems: readonly Problem[], file: string, json: boolean, durationMs: number): number {
  const reasons = problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  if (json) {
    const result: CaseResult = {
      workflowId: null,
      status: 'invalid',
      reasons,
      findings: [],
      letters: [],
      events: 0,
      durationMs,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else process.stderr.write(`dormouse: ${file} is refused:\n${reasons.map((reason) => `  ${reason}\n`).join('')}`);
  return 1;
}

function report(result: CaseResult, deadlineMs: number, interrupted: boolean): void {
  const { workflowId, status, findings, letters, reasons, events, durationMs } = result;
  const final = finalStatuses.has(status);
  const colour = status === 'closed' ? 'green' : final ? 'red' : 'yellow';
  process.stdout.write(
    `${paint(colour, status)} after ${span(durationMs)}, ${events} events, ${findings.length} wrong charges, ${letters.length} letters\n`,
  );
  for (const reason of reasons) process.stdout.write(`  ${reason}\n`);
  for (const letter of letters) process.stdout.write(`  ${letter}\n`);
  if (status === 'escalated')
    process.stdout.write(
      `it waits for a person: dormouse cases decide ${workflowId} --accept REASON, or --close REASON\n`,
    );
  if (interrupted) process.stdout.write('interrupted; the case goes on whenever its system runs\n');
  else if (!final)
    process.stdout.write(`not over within ${span(deadlineMs)}; the case goes on whenever its system runs\n`);
}
