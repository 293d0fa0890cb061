import { writeSync } from 'node:fs';
import {
  createEndpoint,
  DormouseError,
  type EndpointPorts,
  type Service,
  systemClock,
  systemRandom,
} from '@dormouse/core';
import { FileBlobStore } from './blob-store.ts';
import { type PushIdentity, pushVerifier } from './identity.ts';
import { jsonLines } from './json-lines.ts';
import { PushServer } from './push-wire.ts';
import { RemoteStateStore } from './state-wire.ts';

/** What the activator tells an instance, in the environment variable DORMOUSE_INSTANCE. */
export interface InstanceSettings {
  readonly system: string;
  /** Where it listens. */
  readonly socketPath: string;
  readonly stateSocketPath: string;
  readonly stateToken: string;
  readonly filesFolder: string;
  readonly audience: string;
  readonly pushes: PushIdentity;
}

/** A pipe of its own, since what a service prints is its own business. */
export const readyFd = 3;

/** Runs a service in this process: the last lines of every bundle. On which platform, the environment says, and nothing else. */
export function serve(service: Service): void {
  const { DORMOUSE_PLATFORM: platform, DORMOUSE_INSTANCE: instance } = process.env;
  // What one platform needs the other does not load.
  if (platform === 'gcp') void import('@dormouse/gcp/serve').then((gcp) => gcp.serve(service));
  else if (platform === 'local' && instance !== undefined) serveInstance(service, JSON.parse(instance));
  else {
    throw new DormouseError(
      'config.setting',
      `DORMOUSE_PLATFORM must be "gcp", got "${platform ?? ''}"; on one machine \`dormouse start\` starts services`,
    );
  }
}

/**
 * As an instance of the host that started it, which holds the other end of stdin; when that closes, the host wants the
 * instance gone or is gone itself.
 */
function serveInstance(service: Service, settings: InstanceSettings): void {
  const authenticate = pushVerifier(settings.pushes, settings.audience);
  const server = instanceServer(service, settings, { log: jsonLines, authenticate });
  server.listen(settings.socketPath, () => writeSync(readyFd, '\n'));
  process.stdin.on('end', () => void server.close().then(() => process.exit(0)));
  process.stdin.resume();
  // Stopping is the host's business: a Ctrl-C in the terminal reaches the whole process group.
  process.on('SIGINT', () => {});
}

/** Takes the pushes of a service. */
export function instanceServer(
  service: Service,
  settings: Pick<InstanceSettings, 'system' | 'stateSocketPath' | 'stateToken' | 'filesFolder'>,
  ports: Pick<EndpointPorts, 'log' | 'authenticate'>,
): PushServer {
  const endpoint = createEndpoint(service, {
    system: settings.system,
    store: new RemoteStateStore(settings.stateSocketPath, settings.stateToken),
    blobs: new FileBlobStore(settings.filesFolder),
    clock: systemClock,
    random: systemRandom,
    ...ports,
  });
  return new PushServer(endpoint);
}
