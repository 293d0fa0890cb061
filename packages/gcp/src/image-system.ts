import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Order } from '@dormouse/core';

/** What an image holds of its system's declaration, in `system.json` beside the bundle. */
export interface ImageSystem {
  readonly system: string;
  readonly topics: readonly { readonly name: string }[];
  readonly services: readonly {
    readonly name: string;
    readonly subscriptions: readonly {
      readonly name: string;
      readonly topic: string;
      readonly order?: Order;
      /** False where the reader is another command. */
      readonly dormouse: boolean;
    }[];
  }[];
  readonly closedStatuses?: readonly string[];
}

export const systemFileName = 'system.json';

/** Of the image that this process was started from. */
export function readImageSystem(): ImageSystem {
  // In a bundle all modules lie in its folder.
  return JSON.parse(readFileSync(join(import.meta.dirname, systemFileName), 'utf8'));
}
