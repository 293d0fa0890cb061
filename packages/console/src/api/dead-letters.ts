import { deadLetters, refOf, type StateStore, sees } from '@dormouse/core';
import { z } from 'zod';
import { Refusal } from './problem.ts';
import { pageQuery, type Route, route } from './route.ts';
import { pageOf } from './workflows.ts';

const deadLetter = z.looseObject({
  id: z.string(),
  state: z.enum(['open', 'redriving', 'resolved', 'discarded']),
  topic: z.string(),
  subscription: z.string(),
  workflow: z.string().optional(),
  code: z.string(),
  cause: z.string(),
  attempts: z.int(),
  at: z.number().meta({ description: 'epoch milliseconds' }),
});

export function deadLetterRoutes(store: StateStore): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/dead-letters',
      name: 'listDeadLetters',
      summary: 'Deliveries set aside after their last attempt, newest first.',
      access: 'operator',
      query: pageQuery,
      answers: {
        200: {
          description: 'a page',
          schema: z.object({ deadLetters: z.array(deadLetter), cursor: z.string().optional() }),
        },
      },
      handle: async ({ actor, query, context }) =>
        context.json(await pageOf(store, actor, 'deadLetters', deadLetters, query)),
    }),
    route({
      method: 'GET',
      path: '/api/dead-letters/:id',
      name: 'getDeadLetter',
      summary: 'A dead letter with its cause and its message.',
      access: 'operator',
      answers: { 200: { description: 'the dead letter', schema: deadLetter } },
      async handle({ actor, params, context }) {
        const [found] = await store.get([refOf(deadLetters, params.id!)]);
        if (!sees(actor, found!.tenant)) throw new Refusal(404, `there is no dead letter "${params.id}"`);
        return context.json(found!.data!);
      },
    }),
  ];
}
