import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import type { LogRecord } from './host-log.ts';

/** Reads a host's log, whether the host runs or not: what is kept, then what has come since. */
export class LogReader {
  readonly #path: string;
  #fd: number | undefined;
  #decoder = new StringDecoder();
  #rest = '';
  #hasBegun = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** All that was written since the last call, oldest first; at the first call all that is kept. */
  *read(): Generator<LogRecord> {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      for (const path of this.#older()) {
        this.#fd = openIfThere(path);
        yield* this.#records();
        this.close();
      }
    }
    for (;;) {
      this.#fd ??= openIfThere(this.#path);
      if (this.#fd === undefined) return;
      yield* this.#records();
      if (this.#isNewest()) return;
      // Renamed meanwhile: what came between our last look and that is at its end.
      yield* this.#records();
      this.close();
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#decoder = new StringDecoder();
    this.#rest = '';
  }

  #older(): string[] {
    const name = basename(this.#path);
    const folder = dirname(this.#path);
    if (!existsSync(folder)) return [];
    const numbers = readdirSync(folder).flatMap((file) =>
      file.startsWith(`${name}.`) && /^\d+$/.test(file.slice(name.length + 1))
        ? [Number(file.slice(name.length + 1))]
        : [],
    );
    return numbers.sort((a, b) => b - a).map((number) => join(folder, `${name}.${number}`));
  }

  #isNewest(): boolean {
    const newest = statSync(this.#path, { throwIfNoEntry: false });
    // Between a file and the next there is a moment with none.
    return newest === undefined || newest.ino === fstatSync(this.#fd!).ino;
  }

  *#records(): Generator<LogRecord> {
    const buffer = Buffer.alloc(64 * 1024);
    while (this.#fd !== undefined) {
      const bytes = readSync(this.#fd, buffer);
      if (bytes === 0) return;
      const parts = (this.#rest + this.#decoder.write(buffer.subarray(0, bytes))).split('\n');
      this.#rest = parts.pop()!;
      for (const part of parts) {
        try {
          yield JSON.parse(part);
        } catch {
          // Cut short by a full disk or a kill.
        }
      }
    }
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
