import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Round, RoundResult } from './journey-worker.ts';

const roundTimeoutMs = 180_000;

/** One round of one engine, in a process of its own. */
export async function playRound(round: Round): Promise<RoundResult> {
  const child = fork(join(import.meta.dirname, 'journey-worker.ts'), [JSON.stringify(round)], {
    // Restate's SDK tells of every invocation.
    env: { ...process.env, RESTATE_LOGGING: 'ERROR' },
    // What the results are printed to is for them.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), roundTimeoutMs);
  try {
    return await new Promise((resolve, reject) => {
      child.on('message', resolve);
      child.on('exit', (code, signal) => reject(new Error(`journey: ${round.client[1]} ended with ${code ?? signal}`)));
    });
  } finally {
    clearTimeout(timer);
    child.kill();
  }
}
