import type { ServiceStatus } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { ConsoleClient } from './console-client.ts';
import { failureOf } from './failing-service.ts';
import { span, stamp, table } from './paint.ts';
import { consoleOptions } from './settings.ts';

/** On Google Cloud only its name is known: Cloud Run tells the rest. */
type Told = Pick<ServiceStatus, 'name'> & { readonly state: string } & Partial<Omit<ServiceStatus, 'name' | 'state'>>;

export const services: Command = {
  summary: 'The services of a running system: asleep or awake, since when, wakes, last exit.',
  usage: '[options]',
  maxArguments: 0,
  options: consoleOptions,
  async run(_positionals, options) {
    const client = await ConsoleClient.connect(options);
    const answer = await client.get<{ services: Told[] }>('/api/services');
    if (options.json) process.stdout.write(`${JSON.stringify(answer)}\n`);
    else {
      const rows = answer.services.map(({ name, state, since, instances, inFlight, wakes, lastExit }) => [
        name,
        state,
        since === undefined ? '' : span(Date.now() - since),
        String(instances ?? ''),
        String(inFlight ?? ''),
        String(wakes ?? ''),
        lastExit ? `${lastExit.reason} at ${stamp(lastExit.at)}` : '',
      ]);
      process.stdout.write(
        `${table([['SERVICE', 'STATE', 'SINCE', 'INSTANCES', 'IN FLIGHT', 'WAKES', 'LAST EXIT'], ...rows])}\n`,
      );
      for (const { name, failing } of answer.services) {
        if (failing) process.stdout.write(`\n${failureOf(name, failing)}\n`);
      }
    }
    return 0;
  },
};
