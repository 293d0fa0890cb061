/** Source: sqlite.org/rescode.html; the lower byte is the primary code. */
const primary = { busy: 5, locked: 6, readOnly: 8, io: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/**
 * What the database's file or disk would not do. `unavailable`: may pass, nothing of the work holds. `damaged`: the file is
 * not what was written. `newer`: a newer program wrote it.
 */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  readonly kind: 'unavailable' | 'damaged' | 'newer';

  constructor(kind: DatabaseError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** SQLite's error in words, with the file and the remedy; any other error as it is. */
export function databaseErrorOf(path: string, error: unknown): unknown {
  const { errcode, message } = error as { errcode?: number; message?: string };
  if (errcode === undefined) return error;
  const tell = (kind: DatabaseError['kind'], text: string) =>
    new DatabaseError(kind, `${path} ${text} (${message})`, { cause: error });
  switch (errcode & 0xff) {
    case primary.busy:
    case primary.locked:
      return tell('unavailable', 'is locked by another program; end it, `fuser -v` on the file names it');
    case primary.full:
      return tell('unavailable', 'cannot grow: its disk is full; make space there');
    case primary.io:
      return tell('unavailable', 'cannot be read or written: its disk fails; look at the log of the system');
    case primary.readOnly:
    case primary.cannotOpen:
      return tell('unavailable', 'cannot be opened for writing; give it and its folder to the user that runs the host');
    case primary.corrupt:
    case primary.notADatabase:
      return tell(
        'damaged',
        'is damaged; keep it, and restore a backup into another directory: dormouse restore FILE --data NEW',
      );
    default:
      return error;
  }
}
