import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Options } from './command-line.ts';
import { userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

/** Who asks, where that is not the owner of the data directory with its first admin token. */
export interface Access {
  readonly token?: string | undefined;
  /** The one tenant that the house's token is to act for. */
  readonly tenant?: string | undefined;
}

/** Who asks, as the user says. @throws UsageError */
export function accessOf(options: Options): Access {
  const { tenant } = options;
  return { token: tokenOf(options), tenant: tenant === undefined ? undefined : String(tenant) };
}

/** `--token`, `--token-file`, else DORMOUSE_TOKEN. @throws UsageError where there is no such file, or no token in it */
function tokenOf({ token, 'token-file': file }: Options): string | undefined {
  if (token !== undefined && file !== undefined) throw new UsageError('give --token or --token-file, not both');
  if (token !== undefined) {
    process.stderr.write(
      'dormouse: a token on the command line is seen by all users of this machine, and kept in the history of the shell; use DORMOUSE_TOKEN, or --token-file FILE\n',
    );
    return checkedToken('--token', String(token));
  }
  if (file === undefined) {
    const { DORMOUSE_TOKEN: given } = process.env;
    return given === undefined ? undefined : checkedToken('DORMOUSE_TOKEN', given.trim());
  }
  const path = resolve(userFolder(), String(file));
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new UsageError(`--token-file: ${(cause as Error).message}`, { cause });
  }
  return checkedToken(`--token-file: ${path}`, text);
}

/** What a header can carry. What is none is not shown: it may be most of one. @throws UsageError */
export function checkedToken(name: string, text: string): string {
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new UsageError(`${name} must hold a token and nothing else: visible ASCII characters in one line`);
}
