import { createConsole, Refusal, Tokens, type TopicStatus } from '@dormouse/console';
import { type Command, ConflictError, commandsOf, DormouseError, Erasure, everyTenant } from '@dormouse/core';
import { GcpPlatform, HttpServer, type ImageSystem, LogWatch, starting } from '@dormouse/gcp';
import { getRequestListener } from '@hono/node-server';

/**
 * Runs the console of a system as a service of its own on Google Cloud: the last lines of its bundle. The same operations
 * as on one machine, over Google's stores; what only Google can tell or do, the answer says so.
 */
export function serveConsole(commands: readonly Command[]): Promise<void> {
  return starting(() => run(commands));
}

async function run(commands: readonly Command[]): Promise<void> {
  const platform = GcpPlatform.open(process.env);
  const { ports, log, declared } = platform;
  const tokens = new Tokens(ports);
  await adoptFirstToken(tokens, process.env.DORMOUSE_ADMIN_TOKEN);
  const stopping = new AbortController();
  const watch = new LogWatch(ports, log);
  const app = createConsole({
    ...ports,
    system: declared.system,
    log,
    commands: commandsOf(commands, declared),
    tokens,
    onRevoked: () => {},
    // Google's front end hands over only what is addressed to this service.
    answersTo: () => true,
    stopping: stopping.signal,
    services: () => declared.services.map(({ name }) => ({ name, state: 'run by Cloud Run' })),
    topics: () => topicsOf(declared),
    pause: async (name) => elsewhere(`gcloud pubsub subscriptions modify-push-config ${name}`),
    undeclared: {
      move: async () => elsewhere('gcloud pubsub subscriptions'),
      forget: async (name) => elsewhere(`gcloud pubsub subscriptions delete ${name}`),
    },
    erasure: new Erasure({
      ...ports,
      closedStatuses: declared.closedStatuses ?? [],
      // Nobody copies files here but Google.
      holdingFiles: (work) => work(),
      // What Firestore deletes is not in files of ours.
      scrub: async () => {},
    }),
    watch: (workflow, onChange) => watch.watch(workflow, onChange),
    mounts: new Map(),
  });
  const server = new HttpServer(
    { '/tick': platform.tick },
    log,
    getRequestListener(app.fetch, { overrideGlobalObjects: false }),
  );
  server.stopOnSignal(() => stopping.abort());
  await server.listen(platform.port);
}

/** The token in the environment is the house's, from the first start on until it is revoked. */
async function adoptFirstToken(tokens: Tokens, text: string | undefined): Promise<void> {
  if (text === undefined || text === '') return;
  try {
    const wanted = { tenant: everyTenant, role: 'admin', name: 'first', first: true } as const;
    const token = await tokens.adopt(text, wanted, 'deployment');
    if (token) return;
  } catch (error) {
    // Another instance that started at the same time has.
    if (error instanceof ConflictError) return;
    throw error;
  }
  throw new DormouseError(
    'config.setting',
    'DORMOUSE_ADMIN_TOKEN is no token; write dm_, 16 of the digits and capital letters, _, and 32 random bytes in base64url',
  );
}

/** How much waits there, and whether it is paused, Cloud Monitoring and Pub/Sub know. */
function topicsOf({ topics, services }: ImageSystem): TopicStatus[] {
  const subscriptions = services.flatMap((service) => service.subscriptions);
  return topics.map(({ name }) => ({
    name,
    subscriptions: subscriptions
      .filter(({ topic }) => topic === name)
      .map(({ name, order }) => ({ name, ordered: order !== undefined, undeclared: false })),
  }));
}

function elsewhere(command: string): never {
  throw new Refusal(501, `not on this platform: Pub/Sub does it, by \`${command}\``);
}
