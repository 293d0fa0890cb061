import { expect } from 'vitest';
import { base64 } from './pubsub.ts';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Publisher.Publish, and https://cloud.google.com/pubsub/quotas. */
export const publishing = subject('publishing', (fact) => {
  fact('ids come in the order of the messages, and none twice', async ({ reader }) => {
    const { publish, take } = await reader();
    const ids = await publish('1', '2', '3');
    expect(new Set(ids).size).toBe(3);
    const taken = await take(3);
    const idOf = (text: string) => taken.find(({ message }) => message.data === base64(text))!.message.messageId;
    expect(['1', '2', '3'].map(idOf)).toEqual(ids);
  });

  fact('a message arrives with its attributes, its key and the time it was published', async ({ reader, server }) => {
    const { publish, take } = await reader();
    const before = server.now();
    const [messageId] = await publish({ data: base64('hello'), attributes: { a: 'b', 'ü ': '' }, orderingKey: 'o' });
    const { message } = (await take())[0]!;
    expect(message).toMatchObject({
      data: base64('hello'),
      attributes: { a: 'b', 'ü ': '' },
      orderingKey: 'o',
      messageId,
    });
    expect(Date.parse(message.publishTime)).toBeGreaterThanOrEqual(before - 1000);
    expect(Date.parse(message.publishTime)).toBeLessThanOrEqual(server.now() + 1000);
  });

  fact('data is any bytes', async ({ reader }) => {
    const { publish, take } = await reader();
    const data = base64(Uint8Array.from({ length: 256 }, (_, index) => index));
    await publish({ data });
    expect((await take())[0]!.message.data).toBe(data);
  });

  fact('a message may be of attributes alone', async ({ reader }) => {
    const { publish, take } = await reader();
    await publish({ attributes: { a: 'b', constructor: 'c' } });
    const { message } = (await take())[0]!;
    expect(message).toMatchObject({ attributes: { a: 'b', constructor: 'c' } });
    expect(message.data ?? '').toBe('');
  });

  fact('a message of neither data nor attributes is refused', async ({ topic, refuses }) => {
    const name = await topic();
    await refuses('Publish', { topic: name, messages: [{}] }, 'INVALID_ARGUMENT');
    await refuses('Publish', { topic: name, messages: [{ data: 'aGk=' }, { orderingKey: 'k' }] }, 'INVALID_ARGUMENT');
    await refuses('Publish', { topic: name, messages: [] }, 'INVALID_ARGUMENT');
  });

  fact('a publish takes 1,000 messages, and not one more', async ({ reader, refuses }) => {
    const { publish, topic } = await reader();
    const messages = Array.from({ length: 1000 }, (_, index) => ({ data: base64(String(index)) }));
    expect(await publish(...messages)).toHaveLength(1000);
    await refuses('Publish', { topic, messages: [...messages, { data: 'aGk=' }] }, 'INVALID_ARGUMENT');
  });

  fact('limits hold to the byte', { gap: 22 }, async ({ reader, call, refuses }) => {
    const { topic } = await reader();
    const messages = (...messages: readonly object[]) => ({ topic, messages });
    const attributes = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v']));
    for (const message of [
      { attributes: attributes(100) },
      { attributes: { ['k'.repeat(256)]: 'v'.repeat(1024) } },
      { attributes: { ['é'.repeat(128)]: 'é'.repeat(512) } },
      { data: 'aGk=', orderingKey: 'k'.repeat(1024) },
    ]) {
      await call('Publish', messages(message));
    }
    for (const message of [
      { attributes: attributes(101) },
      { attributes: { ['k'.repeat(257)]: 'v' } },
      { attributes: { k: 'v'.repeat(1025) } },
      { attributes: { ['é'.repeat(129)]: 'v' } },
      { attributes: { k: 'é'.repeat(513) } },
      { attributes: { '': 'v' } },
      { attributes: { google: 'v' } },
      { data: 'aGk=', orderingKey: 'k'.repeat(1025) },
    ]) {
      await refuses('Publish', messages(message), 'INVALID_ARGUMENT');
    }
  });

  fact('a message, and all of a publish, may have 10 MB', { gap: 22 }, async ({ reader, call, refuses }) => {
    const { topic, take } = await reader();
    await call('Publish', { topic, messages: [{ data: base64(Buffer.alloc(9_999_000, 'x')) }] });
    expect((await take())[0]!.message.data).toHaveLength(13_332_000);
    for (const bytes of [[10_000_001], [5_000_001, 5_000_001]]) {
      const messages = bytes.map((count) => ({ data: base64(Buffer.alloc(count, 'x')) }));
      await refuses('Publish', { topic, messages }, 'INVALID_ARGUMENT', '10000000');
    }
  });

  fact('a publish that is refused for one message publishes none', async ({ reader, refuses }) => {
    const { topic, publish, next, pull } = await reader();
    await refuses('Publish', { topic, messages: [{ data: 'aGk=' }, {}] }, 'INVALID_ARGUMENT');
    await publish('1');
    expect(await next()).toBe('1');
    expect(await pull()).toEqual([]);
  });

  fact('messages of one publish have one ordering key, or none', { gap: 4 }, async ({ topic, refuses, publish }) => {
    const name = await topic();
    const [one, other, none] = [
      { data: 'aGk=', orderingKey: 'a' },
      { data: 'aGk=', orderingKey: 'b' },
      { data: 'aGk=' },
    ];
    await publish(name, one, one);
    for (const messages of [
      [one, other],
      [one, none],
      [none, one],
    ]) {
      await refuses('Publish', { topic: name, messages }, 'FAILED_PRECONDITION', 'ordering key');
    }
  });
});
