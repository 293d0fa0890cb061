import type { Erasure, Logger } from '@dormouse/core';
import { z } from 'zod';
import { type Route, route } from './route.ts';

export interface ClientPorts {
  readonly erasure: Pick<Erasure, 'erase'>;
  readonly log: Logger;
}

const wanted = z.object({
  force: z.boolean().default(false).meta({ description: 'also where a workflow is not over' }),
  later: z
    .boolean()
    .default(false)
    .meta({ description: 'deleted, but the database is not written anew: its pages keep the bytes until it is' }),
  cursor: z.string().optional().meta({ description: 'of the answer before' }),
});
const erased = z.object({ id: z.string(), documents: z.int(), activities: z.int(), files: z.int() });

export function clientRoutes({ erasure, log }: ClientPorts): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/clients/:id/erase',
      name: 'eraseClient',
      summary:
        'Erases the personal data in the workflows of a client, a few at each request: ask again with the cursor until there is none. May be repeated. Refused while one of them is not over.',
      access: 'admin',
      body: wanted,
      answers: {
        200: {
          description: 'what was erased now, and how to go on',
          schema: z.object({ workflows: z.array(erased), cursor: z.string().optional() }),
        },
      },
      async handle({ actor, params: { id }, body: { force, later, cursor }, context }) {
        const progress = await erasure.erase({ client: id!, force, later, cursor }, actor);
        log.info('client.erased', { by: actor.name, workflows: progress.workflows.length, more: 'cursor' in progress });
        return context.json(progress);
      },
    }),
  ];
}
