// The process that `dormouse dev` runs its host in, told over the channel between them (`development-host.ts`).
import type { FromHost, HostToStart, ToHost } from './development-host.ts';
import { Host } from './host.ts';
import { untilInterrupted } from './interrupt.ts';
import { developmentLine } from './log-line.ts';
import { dataFolder, hostOptionsOf } from './settings.ts';
import { present } from './start.ts';
import { plainErrors } from './usage-error.ts';

const disconnected = new Promise<void>((resolve) => process.once('disconnect', resolve));
const over = Promise.race([untilInterrupted(), disconnected]);
let host: Host | undefined;

process.on('message', (message: ToHost) => {
  if (message.kind === 'start') void run(message);
  else if (message.kind === 'hold') host?.platform.hold(message.names, message.failure);
  else host?.platform.renew(message.services);
});

async function run({ file, options, port, manifest, withSample }: HostToStart): Promise<void> {
  const startedAt = performance.now();
  try {
    host = await Host.start({
      ...hostOptionsOf(file, options),
      port,
      ...(manifest && { manifest }),
      tell: (record) => {
        const line = developmentLine(record);
        if (line !== undefined) process.stdout.write(`${line}\n`);
      },
    });
  } catch (error) {
    const { name, message, stack } = error as Error;
    answer({
      kind: 'refused',
      message: plainErrors.has(name) ? message : String(stack),
      doesNotBuild: name === 'BundleError',
    });
    process.exitCode = 1;
    process.disconnect?.();
    return;
  }
  answer({ kind: 'up', port: Number(new URL(host.url).port), manifest: host.manifest });
  await present(host, dataFolder(options), startedAt, withSample, over);
  await over;
  await host.stop();
  // Whatever an app's sandbox or commands left running.
  process.exit(0);
}

function answer(message: FromHost): void {
  if (process.connected) process.send!(message);
}
