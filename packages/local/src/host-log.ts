import { type Logger, redactedFacts } from '@dormouse/core';
import { pino } from 'pino';
import type { LogFile } from './log-file.ts';

export const logLevels = ['info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** One line of the log, of the host and of all services alike. */
export interface LogRecord {
  readonly level: LogLevel;
  /** ISO 8601. */
  readonly time: string;
  /** What it is about, and the process that it comes from: a service and its instance, or `host`. */
  readonly service: string;
  readonly pid: number;
  /** `noun.verb`; `service.said` is a line that a service wrote to its output, in `line`. */
  readonly moment: string;
  /** What it is about, where it is about one: a workflow's reference, an event's id. */
  readonly workflow?: string;
  readonly event?: string;
  readonly [fact: string]: unknown;
}

/**
 * The host's log: JSON lines, without secrets and personal data whatever is handed in. Services hand theirs in through
 * their host (`ServiceOutput`), so there is one writer and one format. Not pino in a service too: loading it takes 13 to
 * 20 ms, of a wake of 79.
 *
 * @param tell is given each record as it is written
 */
export function hostLog(file: LogFile, tell: (record: LogRecord) => void = () => {}): Logger {
  const logger = pino(
    {
      base: null,
      messageKey: 'moment',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    file,
  );
  const write = (level: LogLevel) => (moment: string, facts?: Record<string, unknown>) => {
    const safe = redactedFacts({ service: 'host', pid: process.pid, ...facts }) as { service: string; pid: number };
    logger[level](safe, moment);
    tell({ level, time: new Date().toISOString(), moment, ...safe });
  };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}

/** A log whose lines all carry these facts. */
export function logAbout(log: Logger, about: Record<string, unknown>): Logger {
  return {
    info: (moment, facts) => log.info(moment, { ...facts, ...about }),
    warn: (moment, facts) => log.warn(moment, { ...facts, ...about }),
    error: (moment, facts) => log.error(moment, { ...facts, ...about }),
  };
}
