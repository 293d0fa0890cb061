import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { until } from './until.ts';

/** Where the Cloud SDK may be: named by the environment, beside `gcloud`, or in the folders of its installers. */
function sdkFolders(): string[] {
  const { CLOUDSDK_ROOT, CLOUDSDK_ROOT_DIR, PATH = '' } = process.env;
  const gcloud = PATH.split(delimiter)
    .map((folder) => join(folder, 'gcloud'))
    .find(existsSync);
  const usual = ['/usr/lib', '/usr/share', '/usr/local', '/opt', '/opt/homebrew/share', homedir()];
  const folders = [
    CLOUDSDK_ROOT,
    CLOUDSDK_ROOT_DIR,
    gcloud && dirname(dirname(realpathSync(gcloud))),
    ...usual.map((folder) => join(folder, 'google-cloud-sdk')),
    '/snap/google-cloud-sdk/current',
  ];
  return folders.filter((folder) => folder !== undefined && folder !== '') as string[];
}

interface Kind {
  /** In the Cloud SDK's folder. */
  readonly folder: string;
  readonly jar: RegExp;
  /** Before the options. */
  readonly run: (jar: string) => readonly string[];
}

const kinds = {
  pubsub: {
    folder: 'platform/pubsub-emulator/lib',
    jar: /^cloud-pubsub-emulator.*\.jar$/,
    run: (jar) => ['-jar', jar],
  },
  firestore: {
    folder: 'platform/cloud-firestore-emulator',
    jar: /^cloud-firestore-emulator.*\.jar$/,
    run: (jar) => ['-Duser.language=en', '-cp', jar, 'com.google.cloud.datastore.emulator.firestore.CloudFirestore'],
  },
} satisfies Record<string, Kind>;

/** How an emulator is started. */
export interface EmulatorProgram {
  readonly java: readonly string[];
}

/** The emulator's program, or why there is none to be run. */
export function findEmulator(kind: keyof typeof kinds): EmulatorProgram | { readonly missing: string } {
  const { folder, jar: name, run } = kinds[kind];
  const java = (process.env.PATH ?? '').split(delimiter).some((each) => existsSync(join(each, 'java')));
  for (const sdk of sdkFolders()) {
    const lib = join(sdk, folder);
    const jar = existsSync(lib) && readdirSync(lib).find((each) => name.test(each));
    if (jar && java) return { java: run(join(lib, jar)) };
    if (jar) return { missing: `there is no java to run ${join(lib, jar)}` };
  }
  return { missing: `the Cloud SDK or its ${kind} emulator is not installed here (CLOUDSDK_ROOT names its folder)` };
}

/** It lives for a minute or less: compiling for speed, on threads beside, costs more of the processor than it gains. */
const shortLived = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

/** An emulator of Google's, as a process, on a free port. */
export class Emulator implements Disposable {
  readonly address: string;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, address: string) {
    this.#process = process;
    this.address = address;
  }

  static async start(program: EmulatorProgram): Promise<Emulator> {
    for (let tries = 1; ; tries++) {
      const emulator = await Emulator.#tryToStart(program);
      if (emulator) return emulator;
      if (tries === 3) throw new Error(`the emulator ended at once, ${tries} times: java ${program.java.join(' ')}`);
    }
  }

  /** @returns undefined where it ended at once: another may have taken its port meanwhile */
  static async #tryToStart({ java }: EmulatorProgram): Promise<Emulator | undefined> {
    const port = await freePort();
    // Its log is long, and nobody reads it.
    const child = spawn('java', [...shortLived, ...java, '--host=127.0.0.1', `--port=${port}`], { stdio: 'ignore' });
    const emulator = new Emulator(child, `127.0.0.1:${port}`);
    process.once('exit', () => child.kill('SIGKILL'));
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
    });
    const became = await until('the answer of an emulator that was started', async () => {
      if (failure) throw failure;
      if (child.exitCode !== null) return 'ended' as const;
      // Any answer will do.
      return fetch(`http://${emulator.address}/v1/projects/p/topics`).then(
        () => 'up' as const,
        () => undefined,
      );
    });
    return became === 'up' ? emulator : undefined;
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL');
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Where there is none its tests are skipped with the reason, unless `DORMOUSE_REQUIRE` names `emulators`. */
export function skipWithout(name: string, missing: string, skip: (reason: string) => void): void {
  if ((process.env.DORMOUSE_REQUIRE ?? '').split(',').includes('emulators')) throw new Error(`${name}: ${missing}`);
  skip(`${name}, skipped: ${missing}`);
}
