import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ref } from '@dormouse/core';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../deploy/image-folder.ts';
import { Engines } from '../test/gcp/engines.ts';
import { GoogleSystem, type Wire } from '../test/gcp/google-system.ts';
import { type Engine, type JourneyClient, stops } from './journey-client.ts';
import { JourneyCommits } from './journey-commits.ts';
import { firstStop, journeyOf } from './journey-message.ts';

/** Google's Firestore emulator, our broker in place of Pub/Sub. */
export const onBroker: JourneyClient = { open: () => openSystem('broker') };
/** Google's emulators of both. */
export const onEmulators: JourneyClient = { open: () => openSystem('emulator') };

/** Images as on Cloud Run, with what stands in for Google's. */
async function openSystem(wire: Wire): Promise<Engine> {
  const folder = mkdtempSync(join(tmpdir(), 'journey-bench-gcp-'));
  const systemFile = join(import.meta.dirname, 'journey/system.ts');
  await makeImageFolders({ systemFile, out: join(folder, 'images') });
  const manifest = await describeSystem(systemFile, join(folder, 'images'));
  const engines = await Engines.start();
  const commits = new JourneyCommits();
  // As one of the engines tells it: where a step commits, its service says so.
  const onSaid = (_service: string, line: string) => {
    const { message, workflow } = JSON.parse(line) as { readonly message: string; readonly workflow: Ref };
    if (message === 'step.committed') commits.committed(workflow);
  };
  const system = await GoogleSystem.start({
    engines,
    wire,
    manifest,
    images: join(folder, 'images'),
    folder,
    idleMs: 60_000,
    onSaid,
  });
  return {
    get steps() {
      return commits.steps;
    },
    travel(id) {
      const journey = journeyOf(id);
      const { topic, ...message } = firstStop(id, journey);
      return commits.of(journey, () => system.pubsub.publish(topic, [message]));
    },
    async close(ids) {
      const found = await system.firestore.get(ids.map(journeyOf));
      const arrived = found.filter((document) => {
        const data = document?.fields.data;
        return data && 'stringValue' in data && JSON.parse(data.stringValue).stop === stops;
      }).length;
      await system[Symbol.asyncDispose]();
      await engines[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
      if (arrived !== ids.length) throw new Error(`${arrived} of ${ids.length} journeys have come to their end`);
    },
  };
}
