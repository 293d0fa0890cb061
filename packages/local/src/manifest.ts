import type { Order, ServiceLimits } from '@dormouse/core';

/** What the host knows of a system without loading its code: written by the bundler, read at start. */
export interface Manifest {
  readonly system: string;
  readonly topics: readonly { readonly name: string; readonly version: number }[];
  readonly services: readonly ManifestService[];
  /** The bundle of a process that becomes whichever service is needed. */
  readonly spare: string;
  /** Source modules, absolute. */
  readonly commands?: string;
  readonly sandbox?: string;
  readonly simulation?: string;
  readonly closedStatuses?: readonly string[];
  readonly sample?: { readonly route: string; readonly file: string };
}

export interface ManifestService {
  readonly name: string;
  readonly limits: ServiceLimits;
  readonly subscriptions: readonly {
    readonly name: string;
    readonly topic: string;
    readonly ackDeadlineMs: number;
    readonly order?: Order;
    /** False where the reader is no Dormouse endpoint and lives by the wire's own policy. */
    readonly dormouse: boolean;
  }[];
  /** What runs an instance: the bundle of a service, or a foreign command with the folder it runs in. */
  readonly run:
    | { readonly kind: 'bundle'; readonly file: string; readonly source: string }
    | { readonly kind: 'command'; readonly command: readonly string[]; readonly folder: string };
}
