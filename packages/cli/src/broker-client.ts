import { DataDirectory } from '@dormouse/local';
import { accessOf } from './access.ts';
import type { Options } from './command-line.ts';
import { dataFolder, portOption, projectInReach } from './settings.ts';
import { UsageError } from './usage-error.ts';

/** A running broker's own routes, beside Pub/Sub's: alone on a port, or in the system that runs on a data directory. */
export class BrokerClient {
  readonly #url: string;
  readonly #token: string | undefined;

  private constructor(url: string, token: string | undefined) {
    this.#url = url;
    this.#token = token;
  }

  /** By `--port`, else the running system's, else by PUBSUB_EMULATOR_HOST. @throws UsageError where there is none */
  static of(options: Options): BrokerClient {
    const { token } = accessOf(options);
    if (options.port !== undefined) return new BrokerClient(`http://127.0.0.1:${portOption(options)}`, token);
    const isSystem = options.data !== undefined || projectInReach() !== undefined;
    const host = isSystem ? DataDirectory.host(dataFolder(options)) : undefined;
    if (host) return new BrokerClient(host.brokerUrl, token ?? host.token);
    const told = process.env.PUBSUB_EMULATOR_HOST;
    if (told && options.data === undefined) return new BrokerClient(`http://${told}`, undefined);
    const where = isSystem ? `no system runs on ${dataFolder(options)}` : 'there is no system here';
    throw new UsageError(`${where}; name a broker with --port N, or a system’s directory with --data DIR`);
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path);
  }

  post<T>(path: string): Promise<T> {
    return this.#call('POST', path);
  }

  async #call<T>(method: string, path: string): Promise<T> {
    const headers = {
      'content-type': 'application/json',
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
    };
    const response = await fetch(`${this.#url}/admin/${path}`, { method, headers }).catch((cause: Error) => {
      throw new UsageError(`no broker answers at ${this.#url}`, { cause });
    });
    const body = (await response.json()) as { error?: { message: string } };
    if (body.error) throw new UsageError(body.error.message);
    return body as T;
  }
}
