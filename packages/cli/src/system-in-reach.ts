import { DataDirectoryError } from '@dormouse/local';
import type { Access } from './access.ts';
import { ConsoleClient } from './console-client.ts';
import { Host, type HostOptions } from './host.ts';

const lookAgainMs = 100;
/** Of a console elsewhere, when it went away. */
const askAgainMs = 1_000;

/** A system that a command may ask. */
export interface Reach {
  /** A console that answers; asked again where one went away. @throws DataDirectoryError, UsageError */
  console(signal: AbortSignal): Promise<ConsoleClient>;
  stop(): Promise<void>;
}

/** One that runs elsewhere, and goes on there. */
export class SystemElsewhere implements Reach {
  readonly #client: ConsoleClient;
  #asks = 0;

  constructor(client: ConsoleClient) {
    this.#client = client;
  }

  async console(): Promise<ConsoleClient> {
    // The first to open a case, the second to follow it.
    if (++this.#asks > 2) await new Promise((resolve) => setTimeout(resolve, askAgainMs));
    return this.#client;
  }

  async stop(): Promise<void> {}
}

/** The system on a data directory: the one that runs there, or one started for the purpose, and stopped after. */
export class SystemInReach implements Reach {
  readonly #options: HostOptions;
  #own: Host | undefined;

  readonly #access: Access;

  constructor(options: HostOptions, access: Access) {
    this.#options = options;
    this.#access = access;
  }

  /**
   * A console that answers. A system that is starting or stopping there is waited for, until the signal.
   * @throws DataDirectoryError, UsageError
   */
  async console(signal: AbortSignal): Promise<ConsoleClient> {
    for (;;) {
      const running = await ConsoleClient.find(this.#options.dataFolder, this.#access);
      if (running) return running;
      try {
        this.#own = await Host.start(this.#options);
        const { token = this.#own.token, tenant } = this.#access;
        return new ConsoleClient(this.#own.url, { token, tenant });
      } catch (error) {
        if (!(error instanceof DataDirectoryError && error.inUse) || signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
      }
    }
  }

  async stop(): Promise<void> {
    await this.#own?.stop();
  }
}
