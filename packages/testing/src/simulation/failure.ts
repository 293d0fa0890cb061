import type { Shrunk } from './shrink.ts';
import type { Topology } from './simulated-host.ts';
import type { RunResult } from './world.ts';

export interface Failure {
  readonly seed: number;
  readonly topology: Topology | undefined;
  readonly found: RunResult;
  readonly shrunk: Shrunk;
}

/** An invariant did not hold. The message has what broke, the shortest run found that breaks it, and how to repeat it. */
export class SimulationFailed extends Error {
  override readonly name = 'SimulationFailed';
  readonly failure: Failure;

  constructor(failure: Failure, path: string) {
    super(told(failure, path));
    this.failure = failure;
    // Where it was thrown says nothing: what counts is in the message.
    this.stack = `${this.name}: ${this.message}`;
  }
}

const mostLines = 400;

function told({ seed, topology, found, shrunk: { result, tried } }: Failure, path: string): string {
  const lines = result.trace.length > mostLines ? ['  …', ...result.trace.slice(-mostLines)] : result.trace;
  return [
    `seed ${seed} breaks:`,
    ...result.violations.map(({ invariant, problem }) => `  ${invariant}\n    ${problem}`),
    '',
    `shrunk from ${count(found.struck.length, 'fault')} and ${count(found.acts.length, 'act')} to ${result.struck.length} and ${result.acts.length}, in ${count(tried, 'run')}:`,
    ...(result.struck.length > 0 ? result.struck.map((each) => `  fault ${each}`) : ['  no fault at all']),
    ...result.acts.map((each) => `  act ${each}`),
    '',
    'what happened then:',
    ...lines,
    '',
    `repeat it: npm run simulate -- ${path} --seed ${seed}${topology === 'shared' ? ' --topology shared' : ''}`,
  ].join('\n');
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
