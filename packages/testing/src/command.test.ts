import {
  type Actor,
  type Command,
  type CommandRequest,
  collection,
  command,
  type DormouseError,
  everyTenant,
  InvalidInput,
  refOf,
  runCommand,
  systemClock,
  systemRandom,
  topic,
  type Versioned,
  workflow,
  workflowId,
  workflows,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { LocalStores } from './local-stores.ts';
import { servicePorts } from './service-ports.ts';

const thing = workflow<{ n: number }>({ idPrefix: 'WF' });
const pieces = collection<{ n: number }>('pieces');
const made = topic('thing.made', { schema: z.object({ n: z.number() }) });

const make = command<{ n: number }, { id: string }>({
  name: 'make',
  route: 'POST /api/things',
  creates: true,
  parse({ body }) {
    if (!Number.isInteger(Number(body))) throw new InvalidInput([{ path: '', message: 'no number' }]);
    return { n: Number(body) };
  },
  subject: (_input, { now, random }) => ({ ref: refOf(workflows, workflowId('WF', now, random)) }),
  async run({ n }, step) {
    const found = await step.workflow(thing);
    found.create({ n });
    (await step.document(pieces, 'first')).create({ n });
    step.publish(made, { n });
    return { id: found.id };
  },
});

const raise = command<{ id: string; n: number }, { n: number }>({
  name: 'raise',
  route: 'POST /api/things/:id/raise',
  parse: ({ params, body }) => ({ id: params.id!, n: Number(body) }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  async run({ n }, step) {
    const found = await step.workflow(thing);
    found.update({ n: found.data.n + n });
    return { n: found.data.n };
  },
});

const anna: Actor = { name: 'anna', role: 'client', tenant: 'acme' };
const bert: Actor = { name: 'bert', role: 'admin', tenant: 'bolt' };
const house: Actor = { name: 'house', role: 'admin', tenant: everyTenant };

/** Commands over a real store. */
class Desk implements AsyncDisposable {
  readonly stores = LocalStores.inMemory();
  readonly #ports = { ...servicePorts(this.stores.store, systemClock), random: systemRandom };

  static async open(): Promise<Desk> {
    const desk = new Desk();
    await desk.stores.broker.createTopic({ name: 'projects/test/topics/thing.made' });
    await desk.stores.broker.createSubscription({
      name: 'projects/test/subscriptions/reader',
      topic: 'projects/test/topics/thing.made',
    });
    return desk;
  }

  give<O>(to: Command, actor: Actor, body: string, more: { id?: string; key?: string } = {}): Promise<O> {
    const request: CommandRequest = {
      headers: new Headers(more.key === undefined ? {} : { 'idempotency-key': more.key }),
      body,
      params: more.id === undefined ? {} : { id: more.id },
    };
    return runCommand(to, request, actor, 'test', this.#ports) as Promise<O>;
  }

  make(actor: Actor, body = '1', key?: string): Promise<{ id: string }> {
    return this.give(make, actor, body, key === undefined ? {} : { key });
  }

  async things(): Promise<readonly Versioned[]> {
    return (await this.stores.store.find({ collection: workflows })).documents;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
  }
}

test('what a command makes is its actor’s tenant’s: documents below it and messages too', async () => {
  await using desk = await Desk.open();
  const { id } = await desk.make(anna);
  const found = await desk.stores.store.get([`workflows/${id}`, `workflows/${id}/pieces/first`]);
  expect(found.map(({ tenant }) => tenant)).toEqual(['acme', 'acme']);
  const [lease] = desk.stores.broker.deliveries.lease(
    desk.stores.broker.subscription('projects/test/subscriptions/reader'),
    1,
  );
  expect(lease!.message.attributes['ce-tenant']).toBe('acme');
});

test('another tenant’s workflow is answered as one that does not exist; the house finds both', async () => {
  await using desk = await Desk.open();
  const { id } = await desk.make(anna);
  const refusalOf = (id: string) => desk.give(raise, bert, '1', { id }).catch((error: DormouseError) => error);
  const foreign = (await refusalOf(id)) as DormouseError;
  const missing = (await refusalOf('WF-none')) as DormouseError;
  expect([foreign.code, foreign.message.replace(id, 'X')]).toEqual([
    missing.code,
    missing.message.replace('WF-none', 'X'),
  ]);
  expect(missing.code).toBe('document.missing');
  expect(await desk.give(raise, anna, '2', { id })).toEqual({ n: 3 });
  expect(await desk.give(raise, house, '2', { id })).toEqual({ n: 5 });
  expect(await desk.things()).toMatchObject([{ tenant: 'acme', data: { n: 5 } }]);
});

test('the same Idempotency-Key and body: the same answer, and one effect', async () => {
  await using desk = await Desk.open();
  const first = await desk.make(anna, '1', '"k 1"');
  expect(await desk.make(anna, '1', '"k 1"')).toEqual(first);
  expect(await desk.things()).toHaveLength(1);
  expect(await desk.give(raise, anna, '1', { id: first.id, key: 'k2' })).toEqual({ n: 2 });
  expect(await desk.give(raise, anna, '1', { id: first.id, key: '"k2"' })).toEqual({ n: 2 });
  expect(await desk.things()).toMatchObject([{ data: { n: 2 } }]);
});

test('twenty at once under one key make one workflow, and all answer its id', async () => {
  await using desk = await Desk.open();
  const answers = await Promise.all(Array.from({ length: 20 }, () => desk.make(anna, '1', 'k')));
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(await desk.things()).toHaveLength(1);
});

test('the same key for another body, another command or another workflow is refused', async () => {
  await using desk = await Desk.open();
  const { id } = await desk.make(anna, '1', 'k');
  const other = await desk.make(anna);
  const reused = { code: 'command.key-reused' };
  await expect(desk.make(anna, '2', 'k')).rejects.toMatchObject(reused);
  await expect(desk.give(raise, anna, '1', { id, key: 'k' })).rejects.toMatchObject(reused);
  await desk.give(raise, anna, '1', { id, key: 'r' });
  await expect(desk.give(raise, anna, '1', { id: other.id, key: 'r' })).rejects.toMatchObject(reused);
  expect((await desk.things()).map(({ data }) => data!.n).toSorted()).toEqual([1, 2]);
});

test('a key is each tenant’s own', async () => {
  await using desk = await Desk.open();
  const ids = await Promise.all([anna, bert, house].map((actor) => desk.make(actor, '1', 'k')));
  expect(new Set(ids.map(({ id }) => id)).size).toBe(3);
  expect((await desk.things()).map(({ tenant }) => tenant).toSorted()).toEqual(['acme', 'bolt', 'default']);
});

test('what was refused under a key may be asked for again under it', async () => {
  await using desk = await Desk.open();
  await expect(desk.make(anna, 'x', 'k')).rejects.toThrow(InvalidInput);
  await expect(desk.give(raise, anna, '1', { id: 'WF-none', key: 'k' })).rejects.toThrow('there is no document');
  expect((await desk.make(anna, '1', 'k')).id).toMatch(/^WF-/);
});

test.each(['""', '"a', 'a b', 'ä', '"a"b"', 'x'.repeat(256)])('a key that is none is refused: %s', async (key) => {
  await using desk = await Desk.open();
  await expect(desk.make(anna, '1', key)).rejects.toMatchObject({
    code: 'command.invalid',
    problems: [{ path: 'Idempotency-Key' }],
  });
  expect(await desk.things()).toEqual([]);
});
