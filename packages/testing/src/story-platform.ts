import type { ConsolePorts } from '@dormouse/console';
import type { Clock, Logger, Random, Ref, StepPorts } from '@dormouse/core';
import type { Manifest, UnderWay } from '@dormouse/local';

/** On what a story is told. */
export interface StoryPlatform extends Pick<ConsolePorts, 'services' | 'topics' | 'pause' | 'undeclared' | 'erasure'> {
  readonly ports: StepPorts;
  /** Of a broker that speaks Pub/Sub's v1; its project is `dormouse`. */
  readonly brokerPort: number;
  /** Fires after each commit. */
  onCommitted(notice: { readonly workflows: readonly Ref[] }): void;
  underWay(): UnderWay;
  stop(): Promise<void>;
}

export interface StoryPlatformOptions {
  readonly manifest: Manifest;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}
