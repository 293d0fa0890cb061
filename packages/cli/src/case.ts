import { join } from 'node:path';
import type { Trace } from '@dormouse/console';
import type { FileRef, Problem } from '@dormouse/core';
import { readInput } from './case-input.ts';
import type { Command, Options } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { Host } from './host.ts';
import { untilInterrupted } from './interrupt.ts';
import { paint, span } from './paint.ts';
import { dataFolder, durationOption, hostOptions, inlineOption, jsonOption, projectOf } from './settings.ts';
import { finalStatuses, timelineOf } from './timeline.ts';
import { UsageError } from './usage-error.ts';

/** What `--json` prints. */
interface CaseResult {
  readonly workflowId: string | null;
  readonly status: string;
  readonly reasons: readonly string[];
  readonly findings: readonly unknown[];
  /** Absolute paths of PDF files that stay. */
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
    json: jsonOption,
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
    const { client, stop } = await reach(options);
    try {
      const created = await client.post('/api/workflows/create', JSON.stringify(input.request));
      if (created.status !== 201) {
        const problems = (created.body.problems as Problem[] | undefined) ?? [
          { path: '', message: String(created.body.detail) },
        ];
        return refused(problems, file, json, elapsed());
      }
      const workflowId = String(created.body.workflowId);
      if (!json) process.stdout.write(`case ${paint('bold', workflowId)}\n`);
      const { status, events, interrupted } = await follow(client, workflowId, deadlineMs, json);
      const result = {
        workflowId,
        ...(await resultOf(client, workflowId, dataFolder(options))),
        events,
        durationMs: elapsed(),
      };
      if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
      else report(result, status, deadlineMs, interrupted);
      if (interrupted) return 1;
      return finalStatuses.has(status) ? (exitCodes[status] ?? 1) : deadlinePassed;
    } finally {
      await stop();
    }
  },
};

/** The system that runs on the data directory, or one started for the purpose. */
async function reach(
  options: Options,
): Promise<{ readonly client: ConsoleClient; readonly stop: () => Promise<void> }> {
  const folder = dataFolder(options);
  const running = await ConsoleClient.find(folder);
  if (running) return { client: running, stop: async () => {} };
  const host = await Host.start({
    systemFile: projectOf().systemFile,
    dataFolder: folder,
    port: 0,
    idleMs: durationOption(options, 'idle', '10s'),
    inline: inlineOption(options),
  });
  return { client: new ConsoleClient(host.url, host.token), stop: () => host.stop() };
}

async function follow(
  client: ConsoleClient,
  workflowId: string,
  deadlineMs: number,
  quiet: boolean,
): Promise<{ readonly status: string; readonly events: number; readonly interrupted: boolean }> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort('deadline'), deadlineMs);
  void untilInterrupted().then(() => over.abort('interrupted'));
  let status = 'unknown';
  let events = 0;
  try {
    for await (const followed of client.follow(workflowId, over.signal)) {
      if (followed.event === 'workflow') {
        status = String(followed.data.status);
        // Over, but the last messages (the client is told) may still be on their way.
        if (finalStatuses.has(status) && (await isQuiet(client, workflowId))) break;
      } else {
        if (followed.data.kind === 'log') events += followed.data.entry.published.length;
        if (!quiet) progress(timelineOf(followed.data), status, events);
      }
    }
  } catch (error) {
    if (!over.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    if (process.stdout.isTTY && !quiet) process.stdout.write('\r\u001b[K');
  }
  return { status, events, interrupted: over.signal.reason === 'interrupted' };
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
    process.stdout.write(
      `\r\u001b[K${paint('yellow', status)} · ${events} events · ${lines.at(-1)}`.slice(
        0,
        (process.stdout.columns ?? 80) + 20,
      ),
    );
  }
}

async function resultOf(
  client: ConsoleClient,
  workflowId: string,
  folder: string,
): Promise<Pick<CaseResult, 'status' | 'reasons' | 'findings' | 'letters'>> {
  const found = await client.get<{ status: string; reasons?: string[]; processing?: { findings?: FileRef } }>(
    `/api/workflows/${workflowId}`,
  );
  const { documents } = await client.get<{ documents: { file?: FileRef }[] }>(
    `/api/workflows/${workflowId}/documents/letters`,
  );
  const findings = found.processing?.findings;
  return {
    status: found.status,
    reasons: found.reasons ?? [],
    findings: findings
      ? await client.get<unknown[]>(
          `/api/workflows/${workflowId}/files/${findings.key.split('/').slice(1).map(encodeURIComponent).join('/')}`,
        )
      : [],
    letters: documents.flatMap(({ file }) => (file ? [join(folder, 'files', file.key)] : [])).sort(),
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

function report(
  result: Omit<CaseResult, 'workflowId'> & { workflowId: string },
  status: string,
  deadlineMs: number,
  interrupted: boolean,
): void {
  const { findings, letters, reasons, events, durationMs } = result;
  const final = finalStatuses.has(status);
  const colour = status === 'closed' ? 'green' : final ? 'red' : 'yellow';
  process.stdout.write(
    `${paint(colour, status)} after ${span(durationMs)}, ${events} events, ${findings.length} wrong charges, ${letters.length} letters\n`,
  );
  for (const reason of reasons) process.stdout.write(`  ${reason}\n`);
  for (const letter of letters) process.stdout.write(`  ${letter}\n`);
  if (interrupted) process.stdout.write('interrupted; the case goes on whenever its system runs\n');
  else if (!final)
    process.stdout.write(`not over within ${span(deadlineMs)}; the case goes on whenever its system runs\n`);
}
