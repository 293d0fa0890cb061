export { type ConsolePorts, createConsole, type TopicStatus } from './api/console.ts';
export type { Trace, TraceRow } from './api/trace.ts';
