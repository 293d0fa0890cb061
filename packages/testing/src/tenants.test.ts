// Whose an event is, and what of others’ it reaches.
import { collection } from '@dormouse/core';
import { expect, test } from 'vitest';
import { EndpointBench, event, thing, wf } from './endpoint-bench.ts';
import { told } from './thing.ts';

const notes = collection<{ text: string }>('notes');

test('what a step writes and publishes is of its event’s tenant', async () => {
  await using bench = await EndpointBench.with(async ({ data }, step) => {
    (await step.workflow(thing)).create({ n: data.n });
    await step.run('ask', null, async () => 'answer');
    step.publish(told, { n: data.n });
    step.publish(told, { n: 2 }, { after: '1d', timer: 'later' });
  });
  await bench.deliver(event('E1', { n: 1 }, { tenant: 'acme', subject: 'workflows/WF-2' }));
  expect(bench.published(told).map(({ attributes }) => attributes['ce-tenant'])).toEqual(['acme']);
  const collections = bench.stores.database.prepare("SELECT collection FROM document WHERE tenant = 'acme' ORDER BY 1");
  collections.setReturnArrays(true);
  expect(collections.all().flat()).toEqual(['activities', 'inbox', 'timers/WF-2/named', 'workflows']);
});

test('an event of no tenant is of its workflow’s', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => step.publish(told, { n: 1 }));
  const write = { ref: 'workflows/WF-2', data: { n: 0 } };
  await bench.write(write.ref, write.data, 'acme');
  const message = event('E1', { n: 1 }, { subject: write.ref });
  const { 'ce-tenant': _tenant, ...attributes } = message.attributes;
  await bench.deliver({ ...message, attributes });
  expect(bench.published(told).map(({ attributes }) => attributes['ce-tenant'])).toEqual(['acme']);
});

test('an event of no tenant stays of the tenant of its first attempt, whatever becomes of its workflow', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
    (await step.workflow(thing)).update({ n: 1 });
  });
  const { attributes, ...message } = event('E1', { n: 1 }, { subject: 'workflows/WF-2' });
  const { 'ce-tenant': _tenant, ...unclaimed } = attributes;
  await bench.deliver({ ...message, attributes: unclaimed });
  await bench.write('workflows/WF-2', { n: 0 }, 'acme');
  await bench.deliver({ ...message, attributes: { ...unclaimed, 'dormouse-attempt': '2' } });
  expect(await bench.read('workflows/WF-2')).toEqual({ n: 0 });
  const documents = await bench.deadLetters();
  expect(documents).toMatchObject([{ tenant: 'default', data: { code: 'event.foreign', attempts: 2 } }]);
});

test('an event about another tenant’s workflow dies unseen by the handler, and leaves no trace in that workflow', async () => {
  let runs = 0;
  await using bench = await EndpointBench.with(async () => void runs++);
  await bench.deliver(event('E1', { n: 1 }, { tenant: 'acme' }));
  expect([runs, await bench.entries()]).toEqual([0, []]);
  const documents = await bench.deadLetters();
  expect(documents).toMatchObject([{ tenant: 'acme', data: { code: 'event.foreign' } }]);
  expect(documents[0]!.data).not.toHaveProperty('workflow');
});

test('an event of a tenant that is none dies as malformed', async () => {
  await using bench = await EndpointBench.with(async () => {});
  for (const [index, tenant] of ['*', '', 'Ac me', '-a', 'x'.repeat(64)].entries()) {
    await bench.deliver(event(`E${index}`, { n: 1 }, { tenant }));
  }
  const { documents } = await bench.stores.store.find({ collection: 'dead-letters', tenant: 'default' });
  expect(documents.map(({ data }) => data!.code)).toEqual(Array(5).fill('event.malformed'));
});

test('to a step another tenant’s document is not there, and cannot be made or written', async () => {
  await using bench = await EndpointBench.with(async (_event, step) => {
    const note = await step.document(notes, 'theirs');
    expect(note.exists).toBe(false);
    expect(() => note.data).toThrow('there is no document');
    note.create({ text: 'ours' });
  });
  const theirs = { ref: `${wf}/notes/theirs`, data: { text: 'secret' } };
  await bench.write(theirs.ref, theirs.data, 'acme');
  await bench.deliver(event('E1'));
  expect(await bench.read(theirs.ref)).toEqual({ text: 'secret' });
  const documents = await bench.deadLetters();
  expect(documents).toMatchObject([{ data: { code: 'document.exists' } }]);
});
