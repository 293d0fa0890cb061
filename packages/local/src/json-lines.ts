import type { Logger } from '@dormouse/core';

/** A logger that writes one JSON object a line to stderr: what an instance has to say, taken in by its host's log. */
export const jsonLines: Logger = {
  info: (moment, facts) => write('info', moment, facts),
  warn: (moment, facts) => write('warn', moment, facts),
  error: (moment, facts) => write('error', moment, facts),
};

function write(level: string, moment: string, facts: Record<string, unknown> | undefined): void {
  process.stderr.write(`${JSON.stringify({ level, moment, ...facts })}\n`);
}
