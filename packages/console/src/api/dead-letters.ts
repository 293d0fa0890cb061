import { type DeadLetter, deadLetters, heldBehind, refOf, type StateStore, sees } from '@dormouse/core';
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
  held: z.int().optional().meta({ description: 'events of its workflow that wait behind it, if any do' }),
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
      async handle({ actor, query, context }) {
        const page = await pageOf(store, actor, 'deadLetters', deadLetters, query);
        const letters = page.deadLetters as (DeadLetter & { tenant?: string })[];
        const owned = letters.map((letter) => ({ tenant: letter.tenant ?? actor.tenant, letter }));
        const held = await heldBehind(store, owned);
        return context.json({ ...page, deadLetters: letters.map((letter, index) => shown(letter, held[index]!)) });
      },
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
        const letter = found!.data as unknown as DeadLetter;
        const [held] = await heldBehind(store, [{ tenant: found!.tenant!, letter }]);
        return context.json(shown(letter, held!));
      },
    }),
  ];
}

function shown(letter: DeadLetter, held: number) {
  return { ...letter, ...(held > 0 && { held }) };
}
