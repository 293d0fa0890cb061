import { isIP } from 'node:net';
import { UsageError } from './usage-error.ts';

const loopbackNames = ['127.0.0.1', 'localhost', '[::1]'];

/** Where the console listens, and by which names it may be called. */
export class Listening {
  /** A name or an address. */
  readonly hostname: string;
  /** Whether others than this machine's own processes may reach it: then everything needs a token. */
  readonly isOpen: boolean;
  readonly #names: ReadonlySet<string>;
  readonly #anywhere: boolean;

  /** @throws UsageError */
  constructor(hostname = '127.0.0.1', names: readonly string[] = []) {
    for (const name of [hostname, ...names]) {
      if (isIP(name) === 0 && !/^[a-z0-9]([a-z0-9.-]{0,252})$/i.test(name)) {
        throw new UsageError(`"${name}" is neither a host name nor an address; --host and --names take those`);
      }
    }
    this.hostname = hostname;
    // By its form a name is none of ours: "127.example.com" is whatever its owner says it is.
    const loopback = isIP(hostname) === 0 ? /^localhost$/i : /^127\.|^::1$/;
    this.#anywhere = !loopback.test(hostname);
    // A name that is not ours comes through a proxy, whose clients may be anywhere.
    this.isOpen = this.#anywhere || names.length > 0;
    this.#names = new Set([...loopbackNames, hostname, ...names].map((name) => name.toLowerCase()));
  }

  /** By an address no page of another name can call us (DNS rebinding), so where we listen beyond loopback all are good. */
  answersTo(hostname: string): boolean {
    const address = hostname.replace(/^\[(.*)\]$/, '$1');
    return (
      this.#names.has(hostname.toLowerCase()) || this.#names.has(address) || (this.#anywhere && isIP(address) !== 0)
    );
  }

  /** Where this machine's own processes reach it. */
  url(port: number): string {
    const own = { '0.0.0.0': '127.0.0.1', '::': '::1' }[this.hostname] ?? this.hostname;
    return `http://${isIP(own) === 6 ? `[${own}]` : own}:${port}`;
  }
}
