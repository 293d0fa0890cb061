import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingHttpHeaders } from 'node:http';
import { type Logger, redactedFacts } from '@dormouse/core';

/** The trace of the request that is being answered. */
const traces = new AsyncLocalStorage<string>();

/**
 * Lines of JSON as Cloud Logging reads them from a container's output, without secrets and personal data whatever is handed
 * in. What is said while a request is answered is shown with that request.
 * Source: cloud.google.com/logging/docs/structured-logging, "Special fields in structured payloads".
 */
export function cloudLog(project: string): Logger {
  const write =
    (severity: string) =>
    (message: string, facts: Record<string, unknown> = {}) => {
      const trace = traces.getStore();
      const line = {
        severity,
        message,
        ...redactedFacts(facts),
        ...(trace !== undefined && { 'logging.googleapis.com/trace': `projects/${project}/traces/${trace}` }),
      };
      process.stdout.write(`${JSON.stringify(line)}\n`);
    };
  return { info: write('INFO'), warn: write('WARNING'), error: write('ERROR') };
}

/** Runs work of which a request tells the trace: W3C's header, or Google's older one. */
export function traced<T>({ traceparent, 'x-cloud-trace-context': older }: IncomingHttpHeaders, work: () => T): T {
  const trace = /^\w\w-(\w{32})-/.exec(String(traceparent))?.[1] ?? /^(\w{32})\b/.exec(String(older))?.[1];
  return trace === undefined ? work() : traces.run(trace, work);
}
