import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Duration, durationMs } from '@dormouse/core/duration';
import type { RetentionSettings } from '@dormouse/local';
import type { OptionSpec, Options } from './command-line.ts';
import type { HostOptions } from './host.ts';
import { Listening } from './listening.ts';
import { UsageError } from './usage-error.ts';

export const dataOption: OptionSpec = {
  type: 'string',
  value: 'DIR',
  description: 'the data directory (default: .dormouse in the project)',
};
export const jsonOption: OptionSpec = { type: 'boolean', description: 'one JSON object on stdout instead of text' };

/** Who asks. */
const tokenOptions = {
  token: { type: 'string', value: 'TOKEN', description: 'who asks (default: DORMOUSE_TOKEN, or the first admin)' },
  'token-file': { type: 'string', value: 'FILE', description: 'the same, in a file of its own' },
} as const satisfies Record<string, OptionSpec>;

/** Of every command that speaks to a console: of a running host, or elsewhere. */
export const consoleOptions = {
  data: dataOption,
  json: jsonOption,
  url: {
    type: 'string',
    value: 'URL',
    description: 'a console elsewhere, as https://HOST (default: DORMOUSE_URL, or the system on the data directory)',
  },
  ...tokenOptions,
  identity: {
    type: 'string',
    value: 'metadata',
    description:
      'with a URL at which Cloud Run asks who comes: as the account of this machine (default: by DORMOUSE_IDENTITY_TOKEN)',
  },
  'insecure-http': { type: 'boolean', description: 'with a URL: send the token over http:// to another machine' },
  tenant: { type: 'string', value: 'T', description: 'act for one tenant only (the house’s token acts for all)' },
} as const satisfies Record<string, OptionSpec>;

/** Of every command that speaks to a broker itself. */
export const brokerOptions = {
  port: {
    type: 'string',
    value: 'N',
    description: 'of a `dormouse broker` (default: that of the running system, or PUBSUB_EMULATOR_HOST)',
  },
  data: dataOption,
  json: jsonOption,
  ...tokenOptions,
} as const satisfies Record<string, OptionSpec>;

export const hostOptions = {
  data: dataOption,
  idle: { type: 'string', value: 'DURATION', description: 'how long a service stays awake without work (default 10s)' },
  spare: {
    type: 'string',
    value: 'N',
    description: 'loaded processes that wait to become a service: it wakes faster, each takes memory (default 0)',
  },
  inline: {
    type: 'string',
    value: 'NAMES',
    description: 'services to run inside the host: names with commas, or "all"',
  },
} as const satisfies Record<string, OptionSpec>;

/** The folder the user typed in: npm scripts run elsewhere and say so. */
export function userFolder(): string {
  return process.env.INIT_CWD ?? process.cwd();
}

export interface Project {
  readonly folder: string;
  readonly systemFile: string;
  /** As it stands in package.json. */
  readonly retention: unknown;
}

/** The project: the nearest folder whose package.json names a system, upwards from the user's folder, or from npm's. */
export function projectOf(): Project {
  const project = projectInReach();
  if (project) return project;
  throw new UsageError(
    `no package.json from ${userFolder()} upwards names a system; add "dormouse": { "system": "path/to/system.ts" }`,
  );
}

export function projectInReach(): Project | undefined {
  for (const folder of [...upwards(userFolder()), ...upwards(process.cwd())]) {
    const file = join(folder, 'package.json');
    const { system, retention } = (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).dormouse) || {};
    if (typeof system === 'string') return { folder, systemFile: resolve(folder, system), retention };
  }
  return undefined;
}

/** Duration, or `off`: kept for ever. The page docs/operations.md says what each is for. */
export const retentionDefaults = { inbox: '30d', log: '7d', journal: 'off', files: 'off' } as const;
/** Below it, a client's own repeat would be done again; a message would go before its reader looked. */
const shortestRetention = { inbox: '1d', log: '1h', journal: '1h', files: '1h' } as const;

/** `dormouse.retention` of a project's package.json. @throws UsageError */
export function retentionOf(project: Project | undefined): RetentionSettings {
  const given = (project?.retention ?? {}) as Record<string, unknown>;
  const where = `${project && join(project.folder, 'package.json')}: dormouse.retention`;
  const names = Object.keys(retentionDefaults) as (keyof typeof retentionDefaults)[];
  const unknown = Object.keys(given).find((name) => !(names as string[]).includes(name));
  if (unknown) throw new UsageError(`${where} has no setting "${unknown}"; there are ${names.join(', ')}`);
  const read = (name: keyof typeof retentionDefaults): number | undefined => {
    const value = String(given[name] ?? retentionDefaults[name]);
    if (value === 'off') return undefined;
    const least = shortestRetention[name];
    try {
      const ms = durationMs(value, `${where}.${name}`);
      if (ms >= durationMs(least)) return ms;
    } catch (error) {
      throw new UsageError(`${(error as Error).message}, or "off" to keep it for ever`);
    }
    throw new UsageError(`${where}.${name} must be at least ${least}, got "${value}"; or "off" to keep it for ever`);
  };
  return { inboxMs: read('inbox'), logMs: read('log'), journalMs: read('journal'), filesMs: read('files') };
}

function* upwards(from: string): Generator<string> {
  for (let folder = from; ; folder = dirname(folder)) {
    yield folder;
    if (dirname(folder) === folder) return;
  }
}

export function dataFolder(options: Options): string {
  return typeof options.data === 'string' ? resolve(userFolder(), options.data) : join(projectOf().folder, '.dormouse');
}

export function durationOption(options: Options, name: string, otherwise: Duration): number {
  const value = options[name];
  if (value === undefined) return durationMs(otherwise);
  try {
    return durationMs(String(value), `--${name}`);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

export function portOption(options: Options): number {
  const port = Number(options.port ?? 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new UsageError(`--port: "${options.port}" is no port; use 0 to 65535`);
  return port;
}

/** @throws UsageError */
export function listeningOption({ host, names }: Options): Listening {
  const list =
    names === undefined
      ? []
      : String(names)
          .split(',')
          .map((name) => name.trim());
  return new Listening(host === undefined ? undefined : String(host), list.filter(Boolean));
}

export function spareOption(options: Options): number {
  const count = Number(options.spare ?? 0);
  if (!Number.isInteger(count) || count < 0 || count > 16)
    throw new UsageError(`--spare: "${options.spare}" must be a whole number from 0 to 16`);
  return count;
}

export function inlineOption(options: Options): 'all' | string[] {
  if (options.inline === undefined) return [];
  return options.inline === 'all' ? 'all' : String(options.inline).split(',');
}

/** The host that the options ask for, of a system's file or of the project's. @throws UsageError */
export function hostOptionsOf(file: string | undefined, options: Options): HostOptions {
  return {
    systemFile: file === undefined ? projectOf().systemFile : resolve(userFolder(), file),
    dataFolder: dataFolder(options),
    port: portOption(options),
    listening: listeningOption(options),
    idleMs: durationOption(options, 'idle', '10s'),
    spare: spareOption(options),
    retention: retentionOf(projectInReach()),
    inline: inlineOption(options),
  };
}
