import { type ChildProcess, spawn } from 'node:child_process';

/** What the image sets in the environment of its process: the `ENV` of the Dockerfile. */
export const imageEnvironment = {
  NODE_ENV: 'production',
  NODE_COMPILE_CACHE: './compile-cache',
  // By the place of a module below the cache's own: the image is built in one folder and run in another.
  NODE_COMPILE_CACHE_PORTABLE: '1',
  DORMOUSE_PLATFORM: 'gcp',
} as const;

/** What the image runs: the `CMD` of the Dockerfile. */
export const imageCommand = ['node', 'service.mjs'] as const;

/** Starts what lies in the folder of an image, as a container would: of this process's environment nothing is handed on. */
export function startImage(folder: string, environment: Readonly<Record<string, string>>): ChildProcess {
  const [, ...args] = imageCommand;
  return spawn(process.execPath, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...imageEnvironment, ...environment },
  });
}
