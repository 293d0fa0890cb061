import type { Clock } from './clock.ts';

/** What the module of a system's `sandbox` exports: the outside world, played on one machine. */
export interface SandboxModule {
  startSandbox(options: SandboxOptions): Promise<Sandbox>;
}

export interface SandboxOptions {
  /** Where it keeps what it must not forget. */
  readonly directory: string;
  /** Where it sends what the outside has to say, and the secret to sign that with, `whsec_…`. */
  readonly webhook: { readonly url: string; readonly secret: string };
  /** Whatever it does later, it does by this clock. */
  readonly clock: Clock;
}

export interface Sandbox {
  /** What services need to reach this outside world instead of the real one. */
  readonly environment: Readonly<Record<string, string>>;
  /** All that it listens on. */
  readonly ports: readonly number[];
  /** Serves `/sandbox` and below; to be mounted where people look. */
  handle(request: Request): Promise<Response>;
  /** A story waits for what it does by itself, and not for callers whom it leaves without an answer on purpose. */
  underWay(): { readonly answering: number; readonly holding: number };
  /** Frees the ports. */
  close(): Promise<void>;
}
