import { createServer } from 'node:http';
import type { Command } from './command-line.ts';
import { untilInterrupted } from './interrupt.ts';

export const start: Command = {
  summary: 'Boots the whole system on this machine and stays up until Ctrl-C.',
  usage: '[options]',
  options: {
    port: { type: 'string', value: 'N', description: 'port of the console (default: a free one)' },
  },
  async run(_positionals, options) {
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/healthz' ? 200 : 404).end();
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(Number(options.port ?? 0), '127.0.0.1', resolve);
    });
    const { port } = server.address() as { port: number };
    process.stdout.write(`console  http://127.0.0.1:${port}\n`);
    await untilInterrupted();
    server.close();
    return 0;
  },
};
