import { createServer } from 'node:http2';
import * as restate from '@restatedev/restate-sdk';
import * as clients from '@restatedev/restate-sdk-clients';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';

interface Journey {
  readonly stop: number;
  readonly notes: Readonly<Record<string, string>>;
}

/** A journey is one workflow: each step is journaled, and changes the workflow's state. */
const workflow = restate.workflow({
  name: 'workflow',
  handlers: {
    run: async (ctx: restate.WorkflowContext, note: string): Promise<number> => {
      for (let stop = 1; stop <= stops; stop++) {
        const received = await ctx.run(`stop ${stop}`, () => note);
        const before = await ctx.get<Journey>('journey');
        ctx.set<Journey>('journey', { stop, notes: { ...before?.notes, [stop]: received } });
      }
      return (await ctx.get<Journey>('journey'))!.stop;
    },
  },
});

const arrivals = new Arrivals();

/** A journey is an object: each step is a message to it, changes its state, and sends the next. */
const traveller = restate.object({
  name: 'traveller',
  handlers: {
    reach: async (ctx: restate.ObjectContext, { stop, note }: { stop: number; note: string }): Promise<void> => {
      const before = await ctx.get<Journey>('journey');
      ctx.set<Journey>('journey', { stop, notes: { ...before?.notes, [stop]: note } });
      if (stop < stops) ctx.objectSendClient(traveller, ctx.key).reach({ stop: stop + 1, note });
      else arrivals.arrive(ctx.key);
    },
    // Waits for its turn behind the last step, whose handler tells of its end before that is kept.
    stop: async (ctx: restate.ObjectContext): Promise<number> => (await ctx.get<Journey>('journey'))?.stop ?? 0,
  },
});

/** @param kind how it is written: what is more idiomatic of the two is a matter of taste */
async function open(kind: 'workflow' | 'messages', { port, adminPort }: EngineAt): Promise<Engine> {
  const server = createServer(restate.createEndpointHandler({ services: [workflow, traveller] }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: servicePort } = server.address() as { port: number };
  const answer = await fetch(`http://127.0.0.1:${adminPort}/deployments`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ uri: `http://127.0.0.1:${servicePort}`, force: true, breaking: true }),
  });
  if (!answer.ok) throw new Error(`restate refused the service: ${await answer.text()}`);
  const ingress = clients.connect({ url: `http://127.0.0.1:${port}` });
  let wrong = 0;
  return {
    async travel(id) {
      if (kind === 'workflow') {
        const client = ingress.workflowClient(workflow, id);
        await client.workflowSubmit(note);
        if ((await client.workflowAttach()) !== stops) wrong++;
        return;
      }
      await arrivals.of(id, () => ingress.objectSendClient(traveller, id).reach({ stop: 1, note }));
    },
    async close(ids) {
      if (kind === 'messages' && (await ingress.objectClient(traveller, ids.at(-1)!).stop()) !== stops) wrong++;
      server.close();
      if (wrong > 0) throw new Error('a journey has not come to its end');
    },
  };
}

export const asWorkflow = { open: (at: EngineAt) => open('workflow', at) };
export const asMessages = { open: (at: EngineAt) => open('messages', at) };
