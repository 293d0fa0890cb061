import type { LogRecord } from '@dormouse/local';
import { paint, span, stamp } from './paint.ts';

const colours = { info: 'dim', warn: 'yellow', error: 'red' } as const;

/** A record of the log as a person reads it: when, who, what, and its facts. */
export function logLine({ level, time, service, pid, moment, line, ...facts }: LogRecord): string {
  const at = `${stamp(Date.parse(time))}.${time.slice(20, 23)}`;
  const head = `${paint('dim', at)} ${paint('cyan', `${service}[${pid}]`)}`;
  if (moment === 'service.said') return `${head} | ${level === 'info' ? line : paint(colours[level], String(line))}`;
  const told = Object.entries(facts).map(([name, value]) => fact(name, value));
  return [head, paint(colours[level], level), moment, ...told].join(' ');
}

/** What a person who looks at a running system should know at once, in one line; undefined where the log is enough. */
export function warningOf({ level, service, moment, ...facts }: LogRecord): string | undefined {
  const more = `npm run dormouse -- logs ${service}`;
  if (moment === 'service.failing') {
    // The first of a row; what follows is in the log, and in `services`.
    if (facts.failures !== 1) return undefined;
    const last = String(facts.output)
      .split('\n')
      .findLast((line) => /error/i.test(line));
    const again = `tried again in ${span(Number(facts.retryInMs))}`;
    return `${service} is failing: ${facts.reason}${last === undefined ? '' : `: ${last.trim()}`} · its messages wait, ${again} · ${more}`;
  }
  if (moment === 'service.recovered') return `${service} works again`;
  if (moment === 'attempt.failed' && facts.decision === 'dead-letter') {
    return `${service} gave up an event of ${facts.subscription}: ${facts.cause} · npm run dormouse -- dead-letters`;
  }
  if (moment === 'delivery.unanswered') {
    return `nobody ever answered for an event of ${facts.subscription}, and the wire gave it up · npm run dormouse -- dead-letters`;
  }
  if (moment === 'subscription.undeclared') {
    const remedy = `subscriptions move ${facts.subscription} NEW-NAME, or subscriptions forget ${facts.subscription}`;
    return `the system does not declare ${facts.subscription} any more; ${facts.waiting} messages wait there · npm run dormouse -- ${remedy}`;
  }
  return level === 'error' ? `${service}: ${moment}: ${facts.cause ?? facts.error ?? ''} · ${more}` : undefined;
}

/** What the developer of a service wants to see at once: what it prints, and what goes wrong, with its place. */
export function developmentLine(record: LogRecord): string | undefined {
  const { level, service, moment, ...facts } = record;
  const who = paint('cyan', service);
  if (moment === 'service.said') {
    return `${who} | ${level === 'info' ? facts.line : paint(colours[level], String(facts.line))}`;
  }
  if (moment === 'attempt.failed') {
    const places = ((facts.at as string[] | undefined) ?? []).map((place) => `\n    at ${place}`).join('');
    const next = facts.decision === 'retry' ? 'tried again later' : 'given up: npm run dormouse -- dead-letters';
    return paint(
      'red',
      `${service}: attempt ${facts.attempt} at ${facts.subscription} failed: ${facts.cause} · ${next}${places}`,
    );
  }
  if (moment === 'event.deferred')
    return paint('yellow', `${service}: ${facts.subscription} deferred: ${facts.reason}`);
  if (moment === 'service.failing') {
    return paint('red', `${service} is failing: ${facts.reason} · tried again in ${span(Number(facts.retryInMs))}`);
  }
  return warningOf(record);
}

function fact(name: string, value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `${paint('dim', `${name}=`)}${/^[^\s"]+$/.test(text) ? text : JSON.stringify(text)}`;
}
