import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

export interface Member {
  readonly pid: number;
  readonly command: string;
}

const variable = 'DORMOUSE_TEST_FAMILY';

/**
 * All processes that descend from one, also those in other process groups and those whose parent is gone: they carry its
 * mark in their environment. Read from Linux's /proc; a zombie shows no environment and does not count.
 */
export class ProcessFamily {
  readonly #mark: string = randomUUID();

  /** What the founder gets into its environment. */
  get environment(): Record<string, string> {
    return { [variable]: this.#mark };
  }

  members(): Member[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
          if (!environment.includes(`${variable}=${this.#mark}`)) return [];
          const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
          return [{ pid: Number(pid), command }];
        } catch {
          // Gone meanwhile, or another user's.
          return [];
        }
      });
  }

  /** The members whose command line holds a text, the founder's own included. */
  find(text: string): Member[] {
    return this.members().filter(({ command }) => command.includes(text));
  }

  killAll(): void {
    for (const { pid } of this.members()) kill(pid, 'SIGKILL');
  }
}

/** Sends a signal to a process, or with a negative id to a process group; one that is gone is no error. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
