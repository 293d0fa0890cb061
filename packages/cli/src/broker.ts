import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import {
  Broker,
  createRestApi,
  createRestServer,
  Database,
  googleIssuer,
  newPushKey,
  OnePort,
  PushDispatcher,
  PushEndpoints,
  type PushOptions,
  PushSigner,
  type RestApi,
} from '@dormouse/broker';
// By their own doors: of all that a host is made of, a broker alone loads nothing else.
import { systemClock } from '@dormouse/core/clock';
import { DataDirectory } from '@dormouse/local/data-directory';
import { pushKeyOf } from '@dormouse/local/push-key';
import { type BrokerConfig, type Declared, readBrokerConfig } from './broker-config.ts';
import type { Command, Options } from './command-line.ts';
import { untilInterrupted } from './interrupt.ts';
import { paint } from './paint.ts';
import { portOption, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

/** Where Google's emulator listens as well. */
const defaultPort = '8085';
/** So long may pushes go on that are under way when it stops. */
const drainMs = 2_000;

export const broker: Command = {
  summary: 'A Pub/Sub server alone, for any client, durable: REST and gRPC on one port.',
  usage: '[options]',
  maxArguments: 0,
  options: {
    port: {
      type: 'string',
      value: 'N',
      description: `port of REST and gRPC (default ${defaultPort}; 0 for a free one)`,
    },
    data: { type: 'string', value: 'DIR', description: 'where messages are kept (default .dormouse-broker)' },
    memory: { type: 'boolean', description: 'keep nothing on disk' },
    config: {
      type: 'string',
      value: 'FILE',
      description: 'topics and subscriptions to make: {"topics": [{"name": …, "subscriptions": [{"name": …}]}]}',
    },
    issuer: {
      type: 'string',
      value: 'URL',
      description: `who the tokens of pushes say they are of (default ${googleIssuer}); the broker’s own address for receivers that look for keys there`,
    },
    project: { type: 'string', value: 'ID', description: 'of the short names in the config (default dormouse)' },
  },
  async run(_arguments, options) {
    if (options.memory && options.data !== undefined) {
      throw new UsageError('--memory keeps nothing, --data DIR says where to keep it; use one of them');
    }
    const interrupted = untilInterrupted();
    const port = portOption({ port: options.port ?? defaultPort });
    const config = configOf(options);
    const issuer = issuerOf(options);
    const folder = resolve(userFolder(), String(options.data ?? '.dormouse-broker'));
    const directory = options.memory ? undefined : DataDirectory.open(folder);
    const failed = Promise.withResolvers<never>();
    const database = new Database(directory?.join('dormouse.db') ?? ':memory:', { onFailure: failed.reject });
    const broker = new Broker(database, systemClock);
    const signer = new PushSigner({
      key: () => (directory ? pushKeyOf(directory) : newPushKey()),
      now: systemClock.now,
      issuer,
    });
    const endpoints = new PushEndpoints(systemClock);
    const dispatcher = new PushDispatcher(broker, {
      resolve: (endpoint) => endpoints.target(endpoint),
      authorize: (oidcToken, endpoint) => signer.authorize(oidcToken, endpoint),
      onSettled: failuresTold(),
    });
    const restApi = createRestApi(broker, { signer });
    const server = createRestServer(restApi);
    const onePort = new OnePort(server, broker);
    try {
      const made = config ? await provision(restApi, config, String(options.config)) : 0;
      for (const subscription of broker.subscriptions) dispatcher.add(subscription);
      const address = `127.0.0.1:${await listen(server, port)}`;
      const say = (text: string) => process.stdout.write(`${text}\n`);
      say(`${paint('bold', 'dormouse · broker')} at http://${address}`);
      say(`  data      ${directory?.path ?? 'in memory only'}`);
      say(
        `  topics    ${broker.topics.length}, subscriptions ${broker.subscriptions.length}${made ? `, ${made} new` : ''}`,
      );
      say(`PUBSUB_EMULATOR_HOST=${address}`);
      say('Ctrl-C stops it.');
      await Promise.race([interrupted, failed.promise]);
      return 0;
    } finally {
      const drained = dispatcher.stop();
      await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, drainMs).unref())]);
      endpoints.close();
      await drained;
      server.close();
      server.closeAllConnections();
      await onePort.close();
      broker.close();
      await database.close();
      directory?.close();
    }
  },
};

function issuerOf({ issuer }: Options): string | undefined {
  if (issuer === undefined || /^https?:$/.test(URL.parse(String(issuer))?.protocol ?? '')) return issuer?.toString();
  throw new UsageError(`--issuer must be an http or https address, got "${issuer}"`);
}

/** Tells in one line that pushes of a subscription fail, and in another that they do no more. */
function failuresTold(): NonNullable<PushOptions['onSettled']> {
  const failing = new Set<string>();
  return (subscription, _lease, outcome) => {
    if (outcome.acked === !failing.has(subscription)) return;
    if (outcome.acked) failing.delete(subscription);
    else failing.add(subscription);
    const what = outcome.acked
      ? 'is taken again'
      : `fails: ${outcome.reason}; its messages wait, and are tried again at most a minute apart`;
    process.stderr.write(`push to ${subscription} ${what}\n`);
  };
}

function configOf({ config, project = 'dormouse' }: Options): BrokerConfig | undefined {
  return config === undefined ? undefined : readBrokerConfig(resolve(userFolder(), String(config)), String(project));
}

/** What is there already stays as it is. Answers how much is new. */
async function provision(restApi: RestApi, { topics, subscriptions }: BrokerConfig, file: string): Promise<number> {
  let made = 0;
  const make = async ({ name, fields }: Declared) => {
    const answer = await restApi({
      method: 'PUT',
      url: `/v1/${name}`,
      headers: { host: 'localhost', 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(fields)),
    });
    if (answer.status === 200) made++;
    else if (answer.status !== 409) {
      const { error } = JSON.parse(answer.body) as { error: { message: string } };
      throw new UsageError(`${file}: "${name}": ${error.message}`);
    }
  };
  for (const topic of topics) await make(topic);
  for (const subscription of subscriptions) await make(subscription);
  return made;
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return reject(error);
      const why = error.code === 'EACCES' ? 'may not be used by this user' : 'is in use';
      reject(new UsageError(`--port: ${port} ${why}; use another, or 0 for a free one`));
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
