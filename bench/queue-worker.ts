import { once } from 'node:events';
import type { QueueClient } from './queue-client.ts';

/** A producer or a consumer, as a process: says that it is ready, waits for the word to begin, says when it is done. */
const [module, role, port, name, messages] = process.argv.slice(2) as [
  string,
  'produce' | 'consume',
  string,
  string,
  string,
];
const client: QueueClient = await import(module);
await client[role]({ port: Number(port), name }, Number(messages), async () => {
  process.send!('ready');
  await once(process, 'message');
});
process.send!('done', () => process.exit());
