/** Ours without what npm, Vitest and a build server put there for the tests themselves, with a folder for temporary files. */
export function usersEnvironment(temporary: string): Record<string, string> {
  const own =
    /^(npm_.*|INIT_CWD|NODE|NODE_ENV|NODE_OPTIONS|VITEST.*|NO_COLOR|NODE_DISABLE_COLORS|FORCE_COLOR|CI|DORMOUSE_.*|CASEWORK_.*|TEST|PROD|DEV|MODE|SSR|BASE_URL)$/;
  const kept = Object.entries(process.env).filter(([name, value]) => value !== undefined && !own.test(name));
  const path = process.env
    .PATH!.split(':')
    .filter((folder) => !/node_modules|node-gyp-bin/.test(folder))
    .join(':');
  return { ...(Object.fromEntries(kept) as Record<string, string>), PATH: path, TMPDIR: temporary };
}
