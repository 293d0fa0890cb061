import type { Logger } from '@dormouse/core';

/** A logger that writes one JSON object a line to stderr: what an instance has to say, read by its host. */
export function jsonLines(always: Record<string, unknown>): Logger {
  const write = (level: string) => (moment: string, facts?: Record<string, unknown>) => {
    process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, moment, ...always, ...facts })}\n`);
  };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}
