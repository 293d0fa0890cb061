/** Structured log: a moment (`noun.verb`) and its facts. Never secrets or personal data: the host's redacts what it can tell. */
export interface Logger {
  info(moment: string, facts?: Record<string, unknown>): void;
  warn(moment: string, facts?: Record<string, unknown>): void;
  error(moment: string, facts?: Record<string, unknown>): void;
}
