// The outside world of a system as a process of its own: node sandbox-main.ts MODULE DIRECTORY WEBHOOK-URL SECRET
// Says on stdout, in one line of JSON, where it is and what services must be told. Ends with its stdin.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { type SandboxModule, systemClock } from '@dormouse/core';
import { getRequestListener } from '@hono/node-server';

const [module, directory, url, secret] = process.argv.slice(2) as [string, string, string, string];
const { startSandbox } = (await import(pathToFileURL(module).href)) as SandboxModule;
const sandbox = await startSandbox({ directory, webhook: { url, secret }, clock: systemClock });
const server = createServer(getRequestListener((request) => sandbox.handle(request)));
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}`, environment: sandbox.environment })}\n`);
});
process.stdin.resume().on('end', async () => {
  server.closeAllConnections();
  server.close();
  await sandbox.close();
  process.exit(0);
});
