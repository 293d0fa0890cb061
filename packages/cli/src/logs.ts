import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LogLevel, LogReader, type LogRecord, logLevels, type Manifest } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { bundlesIn, logName } from './host.ts';
import { untilInterrupted } from './interrupt.ts';
import { logLine } from './log-line.ts';
import { dataFolder, dataOption, durationOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

const lookAgainMs = 200;

export const logs: Command = {
  summary: 'What the host and its services wrote, whether they run or not.',
  usage: '[SERVICE] [options]',
  maxArguments: 1,
  options: {
    data: dataOption,
    follow: { type: 'boolean', description: 'go on with what comes, until Ctrl-C' },
    level: { type: 'string', value: 'LEVEL', description: 'from this level up: info (default), warn or error' },
    since: { type: 'string', value: 'DURATION', description: 'not older than this: 90s, 1h, 7d' },
    lines: { type: 'string', value: 'N', description: 'at most the last N (default 200; with --since all)' },
    json: { type: 'boolean', description: 'one JSON object a line instead of text' },
  },
  async run([service], options) {
    const folder = dataFolder(options);
    const path = join(folder, logName);
    if (!existsSync(path))
      throw new UsageError(
        `there is no log in ${folder}; start a system with \`npm start\`, or name its directory with --data DIR`,
      );
    const level = (options.level ?? 'info') as LogLevel;
    if (!logLevels.includes(level)) throw new UsageError(`--level: "${level}" is none; use ${logLevels.join(', ')}`);
    const since = options.since === undefined ? undefined : Date.now() - durationOption(options, 'since', '1h');
    const most = Number(options.lines ?? (since === undefined ? 200 : Number.MAX_SAFE_INTEGER));
    if (!Number.isInteger(most) || most < 0)
      throw new UsageError(`--lines must be a whole number from 0, got "${options.lines}"`);

    const isAsked = (record: LogRecord) =>
      (service === undefined || record.service === service) &&
      logLevels.indexOf(record.level) >= logLevels.indexOf(level) &&
      (since === undefined || Date.parse(record.time) >= since);
    const print = (record: LogRecord) => {
      process.stdout.write(`${options.json === true ? JSON.stringify(record) : logLine(record)}\n`);
    };

    // Who reads us may have read enough: `dormouse logs | head`.
    process.stdout.on('error', () => process.exit(0));
    const reader = new LogReader(path);
    const last: LogRecord[] = [];
    // Also one that has been renamed or removed since.
    const known = new Set(['host', ...servicesOf(folder)]);
    for (const record of reader.read()) {
      known.add(record.service);
      if (isAsked(record) && last.push(record) > most) last.shift();
    }
    if (service !== undefined && !known.has(service))
      throw new UsageError(`logs: there is no service "${service}"; there are ${[...known].sort().join(', ')}`);
    for (const record of last) print(record);
    if (options.follow !== true) return 0;

    const interrupted = untilInterrupted();
    for (let over = false; !over; ) {
      for (const record of reader.read()) if (isAsked(record)) print(record);
      over = await Promise.race([interrupted.then(() => true), later()]);
    }
    return 0;
  },
};

function servicesOf(folder: string): string[] {
  const file = join(folder, ...bundlesIn, 'manifest.json');
  if (!existsSync(file)) return [];
  return (JSON.parse(readFileSync(file, 'utf8')) as Manifest).services.map(({ name }) => name);
}

function later(): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, lookAgainMs, false));
}
