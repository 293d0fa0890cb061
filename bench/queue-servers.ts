import { execFileSync } from 'node:child_process';
import { chownSync, globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCommand, Program } from './program.ts';
import { freePort } from './pubsub-server.ts';

/** Where a queue runs, in a folder of its own. */
export interface QueueServer {
  readonly port: number;
  /** Of what administers it, where that is another. */
  readonly adminPort?: number;
  stop(): Promise<void>;
}

/** Why a queue is not measured, and what to do about it. */
export class Missing extends Error {}

export async function startRabbitmq(): Promise<QueueServer> {
  // Debian's own starts it as a service, by another user.
  const [command] = globSync('/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server');
  if (!command) throw new Missing('apt-get install rabbitmq-server');
  return inFolder(async (folder, port) => {
    const [distributionPort, epmdPort] = [await freePort(), await freePort()];
    writeFileSync(join(folder, 'rabbitmq.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\n`);
    writeFileSync(join(folder, 'plugins'), '[].\n');
    writeFileSync(join(folder, 'environment'), '');
    const env = {
      ...process.env,
      HOME: folder,
      ERL_EPMD_PORT: `${epmdPort}`,
      RABBITMQ_NODENAME: `bench-${port}@localhost`,
      RABBITMQ_DIST_PORT: `${distributionPort}`,
      RABBITMQ_MNESIA_BASE: join(folder, 'data'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'environment'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    };
    const program = await Program.start(command, [], port, { env, cwd: folder });
    return async () => {
      await program.stop();
      // Erlang's port mapper, which it left behind as a daemon.
      execFileSync('epmd', ['-port', `${epmdPort}`, '-kill'], { env, stdio: 'ignore' });
    };
  });
}

/** @param sync whether a message is on disk before it is confirmed; otherwise every two minutes */
export async function startNats(sync: boolean): Promise<QueueServer> {
  const command = findCommand('nats-server');
  if (!command) throw new Missing('apt-get install nats-server');
  return inFolder(async (folder, port) => {
    const config = join(folder, 'nats.conf');
    const settings = `store_dir: "${folder}"${sync ? ', sync_interval: always' : ''}`;
    writeFileSync(config, `listen: "127.0.0.1:${port}"\njetstream: { ${settings} }\n`);
    try {
      execFileSync(command, ['-t', '-c', config], { stdio: 'ignore' });
    } catch {
      const version = execFileSync(command, ['--version'], { encoding: 'utf8' }).trim();
      throw new Missing(`${version} knows no sync_interval: put 2.10 or newer into the PATH`);
    }
    const program = await Program.start(command, ['-c', config], port, { cwd: folder });
    return () => program.stop();
  });
}

export async function startRedis(appendfsync: 'always' | 'everysec'): Promise<QueueServer> {
  const command = findCommand('redis-server');
  if (!command) throw new Missing('apt-get install redis-server');
  return inFolder(async (folder, port) => {
    const settings = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes', appendfsync };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    const program = await Program.start(command, args, port, { cwd: folder });
    return () => program.stop();
  });
}

export async function startPostgres(): Promise<QueueServer> {
  const [binaries] = globSync('/usr/lib/postgresql/*/bin').sort().reverse();
  if (!binaries) throw new Missing('apt-get install postgresql');
  return inFolder(async (folder, port) => {
    // It refuses to run as root.
    const uid = process.getuid!() === 0 ? Number(execFileSync('id', ['-u', 'postgres'])) : process.getuid!();
    chownSync(folder, uid, -1);
    const data = join(folder, 'data');
    const options = { uid, cwd: folder };
    execFileSync(join(binaries, 'initdb'), ['-D', data, '-A', 'trust', '-U', 'bench'], { ...options, stdio: 'ignore' });
    const args = ['-D', data, '-p', `${port}`, '-k', folder, '-c', 'listen_addresses=127.0.0.1'];
    const program = await Program.start(join(binaries, 'postgres'), args, port, options);
    return () => program.stop();
  });
}

/** The binary of its npm package: nothing else is downloaded. */
export async function startRestate(): Promise<QueueServer> {
  const [command] = globSync(
    join(import.meta.dirname, 'peers/node_modules/@restatedev/restate-server-*/bin/restate-server'),
  );
  if (!command)
    throw new Missing(
      'npm install --prefix bench/peers, on a machine that @restatedev/restate-server has a binary for',
    );
  const adminPort = await freePort();
  const nodePort = await freePort();
  const server = await inFolder(async (folder, port) => {
    const env = {
      ...process.env,
      RESTATE_LISTEN_MODE: 'tcp',
      RESTATE_BIND_IP: '127.0.0.1',
      RESTATE_BIND_PORT: `${nodePort}`,
      RESTATE_INGRESS__BIND_PORT: `${port}`,
      RESTATE_ADMIN__BIND_PORT: `${adminPort}`,
      RESTATE_DISABLE_TELEMETRY: 'true',
      RESTATE_LOG_FILTER: 'warn',
    };
    const program = await Program.start(command, ['--no-logo', '--base-dir', folder], port, { env, cwd: folder });
    return () => program.stop();
  });
  return { ...server, adminPort };
}

async function inFolder(start: (folder: string, port: number) => Promise<() => Promise<void>>): Promise<QueueServer> {
  const folder = mkdtempSync(join(tmpdir(), 'queue-bench-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const port = await freePort();
    const stop = await start(folder, port);
    return { port, stop: () => stop().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}
