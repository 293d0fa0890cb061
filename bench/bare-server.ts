import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const programs = { import: 'bare-import.mjs', require: 'bare-require.cjs' };

/** How it loads `node:http`. */
export type BareKind = keyof typeof programs;

export interface BareServer {
  readonly pid: number;
  /** From spawn to listening. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** A bare `node` HTTP server, started as the activator starts an instance: same pipes, same way to say that it listens. */
export async function startBareServer(kind: BareKind): Promise<BareServer> {
  const startedAt = performance.now();
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, programs[kind])], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  const startMs = performance.now() - startedAt;
  return {
    pid: child.pid!,
    startMs,
    async stop() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
