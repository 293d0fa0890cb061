/** A mistake in what the user typed or asked for: printed as one line, exit code 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Errors that are the user's to mend, told in one line. The rest is ours, and keeps its stack. */
export const plainErrors: ReadonlySet<string> = new Set([
  'BundleError',
  'UsageError',
  'DataDirectoryError',
  'BackupError',
  'DatabaseError',
  'HeadsError',
]);
