import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Sandbox, SandboxOptions } from '@dormouse/core';

/** The outside world: a guest who drinks, or says nothing until nobody asks any more. */
export async function startSandbox({ directory }: SandboxOptions): Promise<Sandbox> {
  const kept = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.url !== '/hangs') return response.writeHead(204).end();
    kept.add(response);
    response.once('close', () => kept.delete(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    environment: { TEA_GUEST_URL: `http://127.0.0.1:${port}`, TEA_FOLDER: directory },
    ports: [port],
    handle: async () => new Response(null, { status: 404 }),
    underWay: () => ({ answering: 0, holding: kept.size }),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
