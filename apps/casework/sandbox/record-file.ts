import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry, Ledger } from './record.ts';

/**
 * `sandbox.jsonl`: one JSON object a line, only ever appended to. A line that a crash cut short was never answered for and
 * is passed over.
 */
export class RecordFile implements Ledger {
  readonly #path: string;
  readonly #file: FileHandle;
  /** The file ends in a fragment: of a crash, or of a write that failed. */
  #torn: boolean;

  private constructor(path: string, file: FileHandle, torn: boolean) {
    this.#path = path;
    this.#file = file;
    this.#torn = torn;
  }

  /** Opens the file in the directory; makes both where they are missing. */
  static async open(directory: string): Promise<RecordFile> {
    await mkdir(directory, { recursive: true });
    const path = join(directory, 'sandbox.jsonl');
    const file = await open(path, 'a+', 0o600);
    return new RecordFile(path, file, await endsInFragment(file));
  }

  async append(entry: Entry): Promise<void> {
    const start = this.#torn ? '\n' : '';
    this.#torn = true;
    await this.#file.appendFile(`${start}${JSON.stringify(entry)}\n`);
    this.#torn = false;
  }

  entries(): AsyncIterable<Entry> {
    return entriesOf(this.#path);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function endsInFragment(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer.toString() !== '\n';
}

async function* entriesOf(path: string): AsyncGenerator<Entry> {
  // Not node:readline, which also ends lines at the U+2028 that JSON leaves inside strings.
  let rest = '';
  for await (const chunk of createReadStream(path, 'utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield* entryIn(line);
  }
  yield* entryIn(rest);
}

function entryIn(line: string): Entry[] {
  try {
    return [JSON.parse(line) as Entry];
  } catch {
    // A fragment. Whoever asked for it was given no answer and asks again.
    return [];
  }
}
