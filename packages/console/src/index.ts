export { type ConsolePorts, createConsole, type Mount, type TopicStatus } from './api/console.ts';
export type { TopicView } from './api/operation.ts';
export { problem, Refusal } from './api/problem.ts';
export { type NewToken, type Token, Tokens } from './api/token.ts';
export { type Trace, type TraceRow, traceOf } from './api/trace.ts';
