import { checkedToken } from './access.ts';
import type { Options } from './command-line.ts';
import { UsageError } from './usage-error.ts';

/** Where a console is that runs elsewhere, and how Google's Cloud Run, if that is where, is shown who asks. */
export interface ConsoleAddress {
  /** Its origin: `https://casework-console-123.europe-west1.run.app`. */
  readonly url: string;
  /** An identity token of Google's, for whoever stands before the console. Undefined: none is shown. */
  readonly identity: (() => Promise<string>) | undefined;
}

/**
 * By `--url`, else by DORMOUSE_URL where no data directory is named. Undefined: the system is on this machine.
 * @throws UsageError
 */
export function consoleAddressOf(options: Options): ConsoleAddress | undefined {
  if (options.url !== undefined && options.data !== undefined)
    throw new UsageError('--url is of a system elsewhere, --data of one on this machine; give one of them');
  const name = options.url === undefined ? 'DORMOUSE_URL' : '--url';
  const text = options.url ?? (options.data === undefined ? process.env.DORMOUSE_URL : undefined);
  if (text === undefined || text === '') return undefined;
  const url = originOf(name, String(text), options['insecure-http'] === true);
  return { url, identity: identityOf(url, options) };
}

function originOf(name: string, text: string, insecure: boolean): string {
  const wrong = (why: string) =>
    new UsageError(`${name} must be the address of a console, https://HOST[:PORT] and nothing after it; ${why}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong(`"${text}" is no address`);
  }
  if (url.username !== '' || url.password !== '') throw wrong('it holds a name or a password');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw wrong(`"${text}" is of another kind`);
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') throw wrong(`got "${text}"`);
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && !insecure) {
    throw new UsageError(
      `${name}: to ${url.origin} the token would go unencrypted, for all on the way to read; use https, or say --insecure-http`,
    );
  }
  return url.origin;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

function identityOf(url: string, { identity }: Options): ConsoleAddress['identity'] {
  if (identity === 'metadata') {
    return async () => {
      const { machineIdentity } = await import('./machine-identity.ts');
      return machineIdentity(url);
    };
  }
  if (identity !== undefined) {
    throw new UsageError(`--identity must be metadata, got "${identity}"; or set DORMOUSE_IDENTITY_TOKEN to a token`);
  }
  const given = process.env.DORMOUSE_IDENTITY_TOKEN?.trim();
  if (!given) return undefined;
  const token = checkedToken('DORMOUSE_IDENTITY_TOKEN', given);
  return async () => token;
}
