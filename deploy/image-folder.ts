import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type ImageSystem, systemFileName } from '@dormouse/gcp';
import { Bundler, type Manifest } from '@dormouse/local';
import { startImage } from './image-process.ts';

/** The name by which the console is asked for, beside those of the services. */
export const consoleName = 'console';
const consoleModule = join(import.meta.dirname, '../packages/cli/src/gcp-console.ts');
const consoleBundle = 'console.process.mjs';

export interface ImageOptions {
  /** Absolute. */
  readonly systemFile: string;
  /** Services, or `console`. Default: all of them. */
  readonly names?: readonly string[];
  /** Each image is a folder in this one. What lies there under its name is replaced. */
  readonly out: string;
}

/**
 * The folders that images are made of: the bundle of one service with what it reaches, what the system declares, and
 * V8's cache of the compiled code. All that the service imports is in its bundle, so there are no packages beside it.
 * @returns the folders
 * @throws Error naming what is none, or what a service said that does not start
 */
export async function makeImageFolders({ systemFile, names, out }: ImageOptions): Promise<string[]> {
  mkdirSync(out, { recursive: true });
  const build = mkdtempSync(join(out, '.build-'));
  try {
    const manifest = await new Bundler(systemFile, build, '', consoleModule).bundle();
    const folders: string[] = [];
    for (const name of names ?? allOf(manifest)) folders.push(await makeImageFolder(manifest, name, build, out));
    return folders;
  } finally {
    rmSync(build, { recursive: true });
  }
}

function allOf({ services }: Manifest): string[] {
  return [...services.filter(({ run }) => run.kind === 'bundle').map(({ name }) => name), consoleName];
}

async function makeImageFolder(manifest: Manifest, name: string, build: string, out: string): Promise<string> {
  if (!allOf(manifest).includes(name)) {
    const isCommand = manifest.services.some((service) => service.name === name);
    const because = isCommand
      ? `"${name}" is a command of its own: make its image as its language does`
      : `there is no service "${name}"; there are ${allOf(manifest).join(', ')}`;
    throw new Error(`no image: ${because}`);
  }
  const folder = join(out, name);
  const half = `${folder}.new`;
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half);
  const bundle = name === consoleName ? consoleBundle : `${name}.mjs`;
  copyFileSync(join(build, bundle), join(half, 'service.mjs'));
  for (const file of reachedFrom(build, bundle)) {
    mkdirSync(dirname(join(half, file)), { recursive: true });
    copyFileSync(join(build, file), join(half, file));
  }
  writeFileSync(join(half, systemFileName), JSON.stringify(imageSystemOf(manifest)));
  await warm(half, name);
  rmSync(folder, { recursive: true, force: true });
  renameSync(half, folder);
  return folder;
}

/** The chunks that a bundle imports, at once or later, and the files they name. */
function reachedFrom(build: string, bundle: string): string[] {
  const reached = new Set<string>();
  for (const waiting = [bundle]; waiting.length > 0; ) {
    const text = readFileSync(join(build, waiting.pop()!), 'utf8');
    for (const [, file] of text.matchAll(/["'`]\.\/(chunk-[A-Z0-9]{8}\.mjs|assets\/[^"'`]+)["'`]/g)) {
      if (reached.has(file!) || !existsSync(join(build, file!))) continue;
      reached.add(file!);
      if (file!.endsWith('.mjs')) waiting.push(file!);
    }
  }
  return [...reached];
}

/** Without paths of the machine it was built on. */
function imageSystemOf({ system, topics, services, closedStatuses }: Manifest): ImageSystem {
  return {
    system,
    topics: topics.map(({ name }) => ({ name })),
    services: services.map(({ name, subscriptions }) => ({ name, subscriptions })),
    ...(closedStatuses && { closedStatuses }),
  };
}

const startWithinMs = 30_000;

/** Starts it once, and asks it something: then what it loads lies compiled in its cache, and an image that does not start is none. */
async function warm(folder: string, name: string): Promise<void> {
  const port = await freePort();
  const nowhere = '127.0.0.1:9';
  const process = startImage(folder, {
    PORT: String(port),
    GOOGLE_CLOUD_PROJECT: 'warming',
    DORMOUSE_BUCKET: 'warming',
    DORMOUSE_QUEUE: 'projects/warming/locations/none/queues/none',
    DORMOUSE_SERVICE_URL: 'https://warming.invalid',
    DORMOUSE_SERVICE_ACCOUNT: 'nobody@warming.invalid',
    FIRESTORE_EMULATOR_HOST: nowhere,
    PUBSUB_EMULATOR_HOST: nowhere,
    STORAGE_EMULATOR_HOST: nowhere,
    CLOUD_TASKS_EMULATOR_HOST: nowhere,
    DORMOUSE_IDENTITY_EMULATOR_HOST: nowhere,
  });
  let said = '';
  for (const stream of [process.stdout!, process.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4_000);
    });
  }
  const exited = once(process, 'exit');
  const late = setTimeout(() => process.kill('SIGKILL'), startWithinMs);
  try {
    await answered(`http://127.0.0.1:${port}/healthz`, () => process.exitCode !== null || process.signalCode !== null);
    process.kill('SIGTERM');
  } catch {
    process.kill('SIGKILL');
  }
  const [code, signal] = await exited;
  clearTimeout(late);
  if (code !== 0)
    throw new Error(`no image: "${name}" did not start and stop, exit ${code ?? signal}; it said:\n${said}`);
}

async function answered(url: string, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('it ended');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
