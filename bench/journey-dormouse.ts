import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultTenant, systemClock, systemRandom } from '@dormouse/core';
import { Bundler, DataDirectory, hostLog, LocalPlatform, LogFile } from '@dormouse/local';
import { type Engine, type JourneyClient, stops } from './journey-client.ts';
import { JourneyCommits } from './journey-commits.ts';
import { firstStop, journeyOf } from './journey-message.ts';

/** The service in the host. */
export const inline: JourneyClient = { open: () => openHost('inline') };
/** The service as processes that the host starts. */
export const processes: JourneyClient = { open: () => openHost('processes') };

/** A host as `dormouse start` runs it, but for its console. */
async function openHost(placement: 'inline' | 'processes'): Promise<Engine> {
  const folder = mkdtempSync(join(tmpdir(), 'journey-bench-'));
  const directory = DataDirectory.open(join(folder, 'data'));
  const systemFile = join(import.meta.dirname, 'journey/system.ts');
  const manifest = await new Bundler(systemFile, directory.join('build', 'services')).bundle();
  const logFile = new LogFile(directory.join('host.log'));
  const platform = await LocalPlatform.start({
    directory,
    manifest,
    clock: systemClock,
    random: systemRandom,
    log: hostLog(logFile),
    idleMs: 60_000,
    inline: new Set(placement === 'inline' ? manifest.services.map(({ name }) => name) : []),
    environment: {},
    onFailure: (error) => {
      throw error;
    },
  });
  const { store } = platform.ports;
  const commits = new JourneyCommits();
  platform.onCommitted = (notice) => {
    for (const ref of notice.workflows) commits.committed(ref);
  };
  return {
    get steps() {
      return commits.steps;
    },
    travel(id) {
      const journey = journeyOf(id);
      const publish = [firstStop(id, journey)];
      const unit = { tenant: defaultTenant, reads: [], writes: [], entries: [], journal: [], publish };
      return commits.of(journey, () => store.commit(unit));
    },
    async close(ids) {
      const documents = await store.get(ids.map(journeyOf));
      const arrived = documents.filter(({ data }) => data?.stop === stops).length;
      await platform.stop();
      logFile.close();
      directory.close();
      rmSync(folder, { recursive: true, force: true });
      if (arrived !== ids.length) throw new Error(`${arrived} of ${ids.length} journeys have come to their end`);
    },
  };
}
