import { type ChildProcess, spawn } from 'node:child_process';

/** Ends a server's process group when this process is gone, however it went: nobody else holds the pipe. */
export function leash(server: ChildProcess): void {
  const holder = spawn('sh', ['-c', 'cat > /dev/null; kill -s TERM -- "-$0"', String(server.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A Ctrl-C in the terminal is not for it.
    detached: true,
  });
  holder.unref();
  (holder.stdin as unknown as { unref(): void }).unref();
  server.once('exit', () => holder.kill('SIGKILL'));
}
