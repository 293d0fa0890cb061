import { type Actor, causeOf, type Entry, type LogQuery, may, type Ref } from '@dormouse/core';
import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { WorkflowPorts } from './workflows.ts';

/** Something is sent at least this often: proxies drop what is silent, and a dead reader is noticed. */
const silenceMs = 15_000;

/** @param after cursor of the last entry already seen */
export function logAfter(workflow: Ref, after: string | undefined): LogQuery {
  return { workflow, ...(after !== undefined && { after }) };
}

/**
 * What of a workflow's history an actor is shown: what failed on the way, and what services tell each other of it, is for
 * operators. A client sees what was done, and which events followed.
 */
export function shownTo(actor: Actor, entry: Entry): Entry | undefined {
  if (may(actor, 'operator')) return entry;
  if (entry.kind === 'journal') return undefined;
  const published = entry.entry.published.map((event) => ({ ...event, data: null }));
  return { ...entry, entry: { ...entry.entry, published } };
}

/**
 * A workflow, live: each entry of its history with its cursor as the event's id, and after each batch the workflow as it
 * then is. Who comes back with the last id he saw misses and repeats no entry. It ends when the token does.
 */
export async function streamOf(context: Context, workflow: Ref, actor: Actor, ports: WorkflowPorts): Promise<Response> {
  const { store, log, watch, onRevocation, stopping, stillGood } = ports;
  let after = context.req.header('last-event-id') ?? context.req.query('after');
  // One that is none is refused before anything is sent.
  if (after !== undefined) for await (const _ of store.log(logAfter(workflow, after))) break;
  // Nobody would read it, so its first write would wait for ever.
  if (context.req.method === 'HEAD') return context.body(null, 200, { 'content-type': 'text/event-stream' });
  return streamSSE(context, async (stream) => {
    let wake = Promise.withResolvers<void>();
    const rouse = () => wake.resolve();
    const unwatch = watch(workflow, rouse);
    const unlisten = onRevocation(rouse);
    const pulse = setInterval(rouse, silenceMs);
    stopping.addEventListener('abort', rouse);
    stream.onAbort(rouse);
    try {
      for (let told = ''; !stream.aborted && !stopping.aborted; ) {
        // Before the reads: what is committed during them wakes the next round.
        wake = Promise.withResolvers<void>();
        if (!(await stillGood(context.req.raw))) return;
        const before = after;
        for await (const entry of store.log(logAfter(workflow, after))) {
          after = entry.cursor;
          const shown = shownTo(actor, entry);
          if (shown) await stream.writeSSE({ id: after, event: 'entry', data: JSON.stringify(shown) });
        }
        const [current] = await store.get([workflow]);
        const data = JSON.stringify(current!.data);
        // Also a batch that left it as it was is followed by it: readers look there whether all is done.
        if (after === before && data === told) await stream.write(':\n\n');
        else await stream.writeSSE({ event: 'workflow', data });
        told = data;
        await wake.promise;
      }
    } catch (error) {
      // Half is sent: whoever reads it comes back, and is answered then.
      log.error('request.failed', { path: context.req.path, cause: causeOf(error) });
    } finally {
      unwatch();
      unlisten();
      clearInterval(pulse);
      stopping.removeEventListener('abort', rouse);
    }
  });
}
