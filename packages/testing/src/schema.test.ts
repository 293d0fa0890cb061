import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BrokerServer } from './broker-server.ts';
import { overGrpc } from './pubsub-grpc.ts';
import { overRest, type PubsubWire } from './pubsub-wire.ts';
import { type RestartableServer, schemaSuite } from './schema-suite.ts';

async function open(wireOf: (address: string) => PubsubWire): Promise<RestartableServer> {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-schemas-'));
  const path = join(folder, 'broker.db');
  let server = await BrokerServer.open({ path });
  let wire = wireOf(server.address);
  return {
    get wire() {
      return wire;
    },
    async restart() {
      await server[Symbol.asyncDispose]();
      server = await BrokerServer.open({ path });
      wire = wireOf(server.address);
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

schemaSuite('our broker over REST', () => open((address) => overRest(`http://${address}`)));
schemaSuite('our broker over gRPC', () => open((address) => overGrpc(address)));
