import type { Tokens } from '@dormouse/console';
import { everyTenant } from '@dormouse/core';
import type { DataDirectory } from '@dormouse/local';

const file = 'admin-token';
const wanted = { tenant: everyTenant, role: 'admin', name: 'first', first: true } as const;

/**
 * The first token of a data directory, whose text its owner finds in the file `admin-token`: made by the first start, good
 * over restarts until it is revoked. Then the file goes, and no start makes another: `dormouse token create` does, while
 * nothing runs. A directory that lost the file without that, as one out of a backup, gets a new one.
 */
export class AdminToken {
  /** Undefined once it is revoked. */
  text: string | undefined;
  #id: string | undefined;
  readonly #directory: DataDirectory;

  private constructor(directory: DataDirectory) {
    this.#directory = directory;
  }

  static async open(directory: DataDirectory, tokens: Tokens): Promise<AdminToken> {
    const token = new AdminToken(directory);
    const kept = directory.read(file)?.trim();
    const known = kept === undefined ? undefined : await tokens.adopt(kept, wanted, 'start');
    if (known?.revokedAt !== undefined) {
      // It was revoked, and the host died before the file was gone.
      directory.remove(file);
    } else if (known) {
      token.text = kept;
      token.#id = known.id;
    } else if (!(await tokens.firstWasRevoked())) {
      token.text = tokens.draw();
      // The file first: a crash between the two leaves a file that the next start adopts.
      directory.write(file, `${token.text}\n`);
      token.#id = (await tokens.adopt(token.text, wanted, 'start'))!.id;
    }
    return token;
  }

  /** True where it was this one. */
  onRevoked(id: string): boolean {
    if (id !== this.#id) return false;
    this.text = undefined;
    this.#directory.remove(file);
    return true;
  }
}
