import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRestApi } from '@dormouse/broker';
import { serveRequests } from '@dormouse/local';
import { LocalStores } from './local-stores.ts';
import { pubsubSuite } from './pubsub-suite.ts';
import { overRest } from './pubsub-wire.ts';

pubsubSuite('our broker over REST', async () => {
  const stores = LocalStores.onDisk();
  const server = createServer(serveRequests(createRestApi(stores.broker)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    wire: overRest(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await stores[Symbol.asyncDispose]();
    },
  };
});
