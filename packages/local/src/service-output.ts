import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock, Logger } from '@dormouse/core';
import { logLevels } from './host-log.ts';

const longestLine = 10_000;
const lastLines = 20;
const lastCharacters = 2_000;
/** What one process may put into the log in a second, in characters, each line counted as 50 more. */
const charactersPerSecond = 500_000;

/**
 * What a process of a service writes, line by line into the host's log. What its own logger wrote (`jsonLines`) keeps its
 * level and facts; everything else is `service.said`: stdout at level info, stderr at warn. A process that shouts without end
 * takes neither the host's time nor what others have in the log: what is too much is dropped, and counted in `service.muted`.
 */
export class ServiceOutput {
  readonly #log: Logger;
  readonly #clock: Clock;
  #last: string[] = [];
  #secondSince = Number.NEGATIVE_INFINITY;
  #left = 0;
  #dropped = 0;

  /** @param log its lines carry service and pid */
  constructor(process: ChildProcess, log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
    lines(process.stdout!, (line) => this.#said('info', line));
    lines(process.stderr!, (line) => this.#said('warn', line));
    process.once('close', () => this.#tellDropped());
  }

  /** The last that it said in words of its own: up to 20 lines. */
  get last(): string {
    return this.#last.join('\n').slice(-lastCharacters);
  }

  #said(level: 'info' | 'warn', line: string): void {
    const record = line.startsWith('{"level":"') ? recordOf(line) : undefined;
    if (record) {
      const { level, moment, ...facts } = record;
      this.#log[level](moment, facts);
      return;
    }
    this.#last.push(line);
    if (this.#last.length > lastLines) this.#last.shift();
    if (this.#mayAdd(line.length + 50)) this.#log[level]('service.said', { line });
    else this.#dropped++;
  }

  #mayAdd(characters: number): boolean {
    const now = this.#clock.steady();
    if (now - this.#secondSince >= 1_000) {
      this.#tellDropped();
      this.#secondSince = now;
      this.#left = charactersPerSecond;
    }
    this.#left -= characters;
    return this.#left >= 0;
  }

  #tellDropped(): void {
    if (this.#dropped > 0) this.#log.warn('service.muted', { lines: this.#dropped });
    this.#dropped = 0;
  }
}

function recordOf(
  line: string,
): ({ level: (typeof logLevels)[number]; moment: string } & Record<string, unknown>) | undefined {
  try {
    const record = JSON.parse(line);
    return logLevels.includes(record.level) && typeof record.moment === 'string' ? record : undefined;
  } catch {
    return undefined;
  }
}

function lines(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    // A line without end is kept as far as anyone would read it.
    rest = parts.pop()!.slice(0, longestLine);
    for (const part of parts) if (part !== '') onLine(part.slice(0, longestLine));
  });
  stream.on('end', () => rest !== '' && onLine(rest));
}
