import { causeOf, type HeldBack, heldBack, refOf, type StateStore } from '@dormouse/core';
import { z } from 'zod';
import type { ServiceHealth, TopicStatus } from './console.ts';
import { Refusal } from './problem.ts';
import { type Route, route } from './route.ts';

export interface OperationPorts {
  readonly store: StateStore;
  readonly services: () => readonly ServiceHealth[];
  readonly topics: () => readonly TopicStatus[];
  /** Stops or resumes the pushes of a subscription. False where there is none of that name. */
  readonly pause: (subscription: string, paused: boolean) => Promise<boolean>;
  /** What to do with a subscription that the system does not declare any more. */
  readonly undeclared: {
    move(from: string, to: string): Promise<{ readonly messages: number }>;
    forget(name: string): Promise<{ readonly messages: number }>;
  };
}

const subscription = z.object({
  name: z.string(),
  backlog: z.int().optional().meta({ description: 'absent where the platform does not tell, as on Google Cloud' }),
  paused: z.boolean().optional().meta({ description: 'absent where the platform does not tell' }),
  ordered: z.boolean(),
  undeclared: z.boolean(),
  held: z
    .object({ keys: z.int(), events: z.int() })
    .optional()
    .meta({ description: 'of an ordered one: workflows with an event not settled yet, events that wait behind those' }),
});
const storeAnswersWithinMs = 2_000;

/** What is the house's to see and do: it is of no tenant. */
export function operationRoutes({ store, services, topics, pause, undeclared }: OperationPorts): Route[] {
  return [
    route({
      method: 'GET',
      path: '/healthz',
      name: 'health',
      summary: 'Whether the process is alive.',
      access: 'anyone',
      answers: { 200: { description: 'it is', schema: z.object({ status: z.literal('ok') }) } },
      handle: ({ context }) => context.json({ status: 'ok' }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      name: 'readiness',
      summary: 'Whether work is taken: everything is provisioned, and the store answers.',
      access: 'anyone',
      answers: { 200: { description: 'it is', schema: z.object({ status: z.literal('ready') }) } },
      async handle({ context }) {
        const late = new Promise<never>((_resolve, reject) => {
          const error = new Error(`no answer within ${storeAnswersWithinMs / 1000} s`);
          setTimeout(() => reject(error), storeAnswersWithinMs).unref();
        });
        try {
          await Promise.race([store.get([refOf('workflows', 'none')]), late]);
        } catch (error) {
          throw new Refusal(503, 'not ready', { reasons: [`the state store does not answer: ${causeOf(error)}`] });
        }
        return context.json({ status: 'ready' });
      },
    }),
    route({
      method: 'GET',
      path: '/api/services',
      name: 'listServices',
      summary: 'The services: asleep or awake, since when, wakes, last exit.',
      access: 'house',
      answers: {
        200: {
          description: 'all of them',
          schema: z.object({ services: z.array(z.looseObject({ name: z.string(), state: z.string() })) }),
        },
      },
      handle: ({ context }) => context.json({ services: services() }),
    }),
    route({
      method: 'GET',
      path: '/api/topics',
      name: 'listTopics',
      summary: 'The topics, who reads them, and how much waits there.',
      access: 'house',
      answers: {
        200: {
          description: 'all of them',
          schema: z.object({ topics: z.array(z.object({ name: z.string(), subscriptions: z.array(subscription) })) }),
        },
      },
      handle: async ({ context }) => context.json({ topics: await withHeld(store, topics()) }),
    }),
    ...(['pause', 'resume'] as const).map((action) =>
      route({
        method: 'POST',
        path: `/api/subscriptions/:name/${action}`,
        name: `${action}Subscription`,
        summary: action === 'pause' ? 'Stops the pushes of a subscription: its messages wait.' : 'Lets them go on.',
        access: 'house',
        answers: {
          200: { description: 'done', schema: z.object({ name: z.string(), paused: z.boolean() }) },
        },
        async handle({ params: { name }, context }) {
          const known = await pause(name!, action === 'pause');
          if (!known) throw new Refusal(404, `there is no subscription "${name}"`);
          return context.json({ name, paused: action === 'pause' });
        },
      }),
    ),
    route({
      method: 'POST',
      path: '/api/subscriptions/:name/move/:to',
      name: 'moveSubscription',
      summary: 'What waits at a subscription that the system does not declare any more goes to another of its topic.',
      access: 'house',
      answers: { 200: { description: 'done', schema: z.object({ name: z.string(), messages: z.int() }) } },
      handle: async ({ params: { name, to }, context }) =>
        context.json({ name: to, ...(await undeclared.move(name!, to!)) }),
    }),
    route({
      method: 'POST',
      path: '/api/subscriptions/:name/forget',
      name: 'forgetSubscription',
      summary: 'A subscription that the system does not declare any more is gone, with all that waits there.',
      access: 'house',
      answers: { 200: { description: 'done', schema: z.object({ name: z.string(), messages: z.int() }) } },
      handle: async ({ params: { name }, context }) => context.json({ name, ...(await undeclared.forget(name!)) }),
    }),
  ];
}

/** The topics as operators see them. */
export type TopicView = Omit<TopicStatus, 'subscriptions'> & {
  readonly subscriptions: readonly (TopicStatus['subscriptions'][number] & { readonly held?: HeldBack })[];
};

function withHeld(store: StateStore, topics: readonly TopicStatus[]): Promise<TopicView[]> {
  const heldBy = async (each: TopicStatus['subscriptions'][number]) =>
    each.ordered ? { ...each, held: await heldBack(store, each.name) } : each;
  return Promise.all(
    topics.map(async (topic) => ({ ...topic, subscriptions: await Promise.all(topic.subscriptions.map(heldBy)) })),
  );
}
