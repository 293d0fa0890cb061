import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Logger } from '@dormouse/core';
import { logLevels } from './host-log.ts';

const longestLine = 10_000;
const lastLines = 20;
const lastCharacters = 2_000;

/**
 * What a process of a service writes, line by line into the host's log. What its own logger wrote (`jsonLines`) keeps its
 * level and facts; everything else is `service.said`: stdout at level info, stderr at warn.
 */
export class ServiceOutput {
  readonly #log: Logger;
  #last: string[] = [];

  /** @param log its lines carry service and pid */
  constructor({ stdout, stderr }: ChildProcess, log: Logger) {
    this.#log = log;
    lines(stdout!, (line) => this.#said('info', line));
    lines(stderr!, (line) => this.#said('warn', line));
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
    this.#log[level]('service.said', { line });
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
