import { type Logger, PubsubClient, type StepPorts, systemClock, systemRandom } from '@dormouse/core';
import { storageUrl } from './blob-store.ts';
import { readEnvironment } from './environment.ts';
import { Firestore, firestoreUrl } from './firestore.ts';
import { GoogleRest, type TokenSource } from './google-rest.ts';
import type { Route } from './http-server.ts';
import { AccessTokens, googleKeysUrl, metadataUrl, TokenKeys, tokenCheck } from './identity.ts';
import { type ImageSystem, readImageSystem } from './image-system.ts';
import { afterCloudRun } from './invoker.ts';
import { cloudLog } from './log.ts';
import { googlePorts } from './ports.ts';
import { pubsubOver } from './pubsub-transport.ts';
import { tasksUrl } from './scheduler.ts';
import { tickRoute } from './tick.ts';

const pubsubUrl = 'https://pubsub.googleapis.com';

/** What a container of Cloud Run has of Google's engines, by its environment alone. Nothing is connected before it is needed. */
export class GcpPlatform {
  readonly ports: StepPorts;
  readonly log: Logger;
  readonly declared: ImageSystem;
  /** To listen on. */
  readonly port: number;
  /** Resolves where a token is of who may push to this service, rejects otherwise. */
  readonly authenticate: (token: string | undefined) => Promise<void>;
  /** Answers `POST /tick`. */
  readonly tick: Route;

  private constructor(
    ports: StepPorts,
    {
      log,
      declared,
      port,
      authenticate,
      tick,
    }: Pick<GcpPlatform, 'log' | 'declared' | 'port' | 'authenticate' | 'tick'>,
  ) {
    this.ports = ports;
    this.log = log;
    this.declared = declared;
    this.port = port;
    this.authenticate = authenticate;
    this.tick = tick;
  }

  /** @throws DormouseError `config.setting` that says what the environment lacks */
  static open(variables: Readonly<Record<string, string | undefined>>): GcpPlatform {
    const { project, bucket, queue, serviceUrl, serviceAccount, port, invoker, emulators } = readEnvironment(variables);
    const declared = readImageSystem();
    const [clock, random] = [systemClock, systemRandom];
    const log = cloudLog(project);
    const rest = (googles: string, emulator: string | undefined, token?: TokenSource) =>
      new GoogleRest({ url: emulator === undefined ? googles : `http://${emulator}`, token, clock, random });

    const tokens = new AccessTokens(rest(metadataUrl, emulators.metadata), clock);
    // An emulator has no use for them, but for one that is there with a metadata server of its own.
    const tokenFor = (emulator: string | undefined) =>
      emulator === undefined || emulators.metadata !== undefined ? tokens.token : undefined;
    const reach = (googles: string, emulator: string | undefined) => rest(googles, emulator, tokenFor(emulator));

    const ofFirestore =
      emulators.firestore === undefined
        ? reach(firestoreUrl, undefined)
        : // What its emulator takes for somebody who may do everything.
          rest(firestoreUrl, emulators.firestore, async () => 'owner');
    const ports = googlePorts({
      declared,
      firestore: new Firestore({ project, rest: ofFirestore }),
      storage: reach(storageUrl, emulators.storage),
      bucket,
      pubsub: new PubsubClient(pubsubOver(reach(pubsubUrl, emulators.pubsub)), project),
      tasks: reach(tasksUrl, emulators.tasks),
      queue,
      serviceUrl,
      serviceAccount,
      clock,
      random,
      log,
    });

    const servers =
      emulators.identity.length > 0 ? emulators.identity.map((each) => `http://${each}`) : [googleKeysUrl];
    const keys = new TokenKeys(
      servers.map((url) => rest(url, undefined)),
      clock,
    );
    // While the first request is on its way. If they cannot be had it is that which says so. After Cloud Run hardly any token is left to check.
    if (invoker === 'anyone') keys.load().catch(() => {});
    if (tokenFor(emulators.firestore)) tokens.token().catch(() => {});
    const wanted = { audience: serviceUrl, serviceAccount, clock };
    const check = tokenCheck({ keys, ...wanted });
    const authenticate = invoker === 'caller' ? afterCloudRun(check, wanted) : check;
    const tick = tickRoute({ ports, authenticate, log });
    return new GcpPlatform(ports, { log, declared, port, authenticate, tick });
  }
}
