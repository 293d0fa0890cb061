import { BrokerServer } from './broker-server.ts';
import { overGrpc } from './pubsub-grpc.ts';
import { type PubsubServer, pubsubSuite } from './pubsub-suite.ts';
import { overRest, type PubsubWire } from './pubsub-wire.ts';

async function open(wireOf: (address: string) => PubsubWire): Promise<PubsubServer> {
  const server = await BrokerServer.open();
  return { wire: wireOf(server.address), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

pubsubSuite('our broker over REST', () => open((address) => overRest(`http://${address}`)));
pubsubSuite('our broker over gRPC', () => open((address) => overGrpc(address)));
