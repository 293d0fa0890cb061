/** A mistake in what the user typed or asked for: printed as one line, exit code 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
