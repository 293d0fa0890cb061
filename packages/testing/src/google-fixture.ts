import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import { onTestFinished } from 'vitest';
import type { BrokerServer } from './broker-server.ts';

// It looks for a machine of Google's otherwise.
process.env.METADATA_SERVER_DETECTION = 'none';

/** Google's own client, told where the broker is in the way its users tell it, until the test is over. */
export function clientOf({ address }: BrokerServer): PubSub {
  process.env.PUBSUB_EMULATOR_HOST = address;
  onTestFinished(() => {
    delete process.env.PUBSUB_EMULATOR_HOST;
  });
  return new PubSub({ projectId: 'test' });
}

/** A file for a broker of this test, which is gone when that is over. */
export function newBrokerPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-google-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'broker.db');
}
