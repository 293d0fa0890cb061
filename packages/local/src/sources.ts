import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Manifest } from './manifest.ts';

/** The source files that each part of a system is made of, without those of packages; absolute. */
export interface Sources {
  /** Its declaration. */
  readonly system: readonly string[];
  /** What the host loads: commands and sandbox. */
  readonly host: readonly string[];
  /** Of a foreign command those that it names. */
  readonly services: Readonly<Record<string, readonly string[]>>;
}

/** What the bundler wrote down beside the bundles. */
export function sourcesOf(bundleFolder: string): Sources {
  return JSON.parse(readFileSync(join(bundleFolder, 'sources.json'), 'utf8'));
}

export function commandSources({ services }: Manifest): Record<string, string[]> {
  return Object.fromEntries(
    services.flatMap(({ name, run }) =>
      run.kind === 'command'
        ? [[name, run.command.map((word) => resolve(run.folder, word)).filter((path) => existsSync(path))]]
        : [],
    ),
  );
}
