import { expect } from 'vitest';
import type { Json } from '../pubsub-wire.ts';
import { until } from '../until.ts';
import { base64, textOf, textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

/** @param body of `f(message, metadata)` */
const udf = (body: string): Json => ({
  javascriptUdf: { functionName: 'f', code: `function f(message, metadata) { ${body} }` },
});

const hideWithoutSecrets = udf(`
  const data = JSON.parse(message.data);
  if (data.hidden) return null;
  delete data.secret;
  return { data: JSON.stringify(data), attributes: { ...message.attributes, key: metadata.ordering_key ?? 'none' } };`);
const failOnBad = udf("if (message.data === 'bad') throw new Error('as told'); return message;");
const unimplemented = { gap: 41 };

/** Source: google.pubsub.v1 MessageTransform, https://cloud.google.com/pubsub/docs/smts/smts-overview */
export const transforms = subject('transforms', (fact) => {
  fact('a topic’s are applied before its messages are kept, in their order', unimplemented, async (pubsub) => {
    const append = (text: string) => udf(`message.data += '${text}'; return message;`);
    const messageTransforms = [append('1'), { ...append('2'), disabled: true }, append('3')];
    const topic = await pubsub.topic({ messageTransforms });
    expect(await pubsub.call('GetTopic', { topic })).toMatchObject({ messageTransforms });
    const { publish, next } = await pubsub.reader({ topic });
    await publish('0');
    expect(await next()).toBe('013');
  });

  fact('what a topic’s function makes null of is taken, and nobody gets it', unimplemented, async (pubsub) => {
    const topic = await pubsub.topic({ messageTransforms: [hideWithoutSecrets] });
    const { publish, take, pull } = await pubsub.reader({ topic });
    const ids = await publish(
      { data: base64('{"hidden":true}') },
      { data: base64('{"a":1,"secret":2}'), attributes: { b: 'c' } },
      { data: base64('{"hidden":true}') },
    );
    expect(new Set(ids).size).toBe(3);
    const [received] = await take();
    expect(textOf(received!)).toBe('{"a":1}');
    expect(received!.message).toMatchObject({ messageId: ids[1], attributes: { b: 'c', key: 'none' } });
    expect(await publish({ data: base64('{"hidden":true}'), orderingKey: 'k' })).toHaveLength(1);
    expect(await pull()).toEqual([]);
  });

  fact('where a topic’s function fails on one message, none of the publish is taken', unimplemented, async (pubsub) => {
    const topic = await pubsub.topic({ messageTransforms: [failOnBad] });
    const { publish, pull, next } = await pubsub.reader({ topic });
    const messages = ['good', 'bad', 'good'].map((text) => ({ data: base64(text) }));
    await pubsub.refuses('Publish', { topic, messages }, 'INVALID_ARGUMENT', 'messages[1]');
    expect(await pull()).toEqual([]);
    await publish('good');
    expect(await next()).toBe('good');
  });

  fact('a topic’s schema is for what its functions leave', unimplemented, async (pubsub) => {
    const { name: schema } = await pubsub.call('CreateSchema', {
      parent: pubsub.project,
      schemaId: 'words',
      schema: { type: 'AVRO', definition: '"string"' },
    });
    const messageTransforms = [udf("message.data = message.data.replaceAll('#', '\"'); return message;")];
    const topic = await pubsub.topic({ messageTransforms, schemaSettings: { schema, encoding: 'JSON' } });
    const { publish, take } = await pubsub.reader({ topic });
    await publish('#word#');
    const [received] = await take();
    expect(textOf(received!)).toBe('"word"');
    expect(received!.message.attributes).toMatchObject({ googclient_schemaname: schema });
    const messages = [{ data: base64('word') }];
    await pubsub.refuses('Publish', { topic, messages }, 'INVALID_ARGUMENT', 'schema validation');
  });

  fact('a subscription’s are applied when it delivers, and to no other', unimplemented, async (pubsub) => {
    const plain = await pubsub.reader();
    const transforming = await pubsub.reader({ topic: plain.topic, messageTransforms: [hideWithoutSecrets] });
    expect(await transforming.config()).toMatchObject({ messageTransforms: [hideWithoutSecrets] });
    const texts = ['{"hidden":true}', '{"a":1,"secret":2}', '{"hidden":true}', '{"a":3}'];
    await plain.publish(...texts.map((text) => ({ data: base64(text), orderingKey: 'k' })));
    const received = await transforming.take(2);
    expect(textsOf(received).toSorted()).toEqual(['{"a":1}', '{"a":3}']);
    expect(received[0]!.message).toMatchObject({ attributes: { key: 'k' }, orderingKey: 'k' });
    await transforming.ack(...received);
    expect(await transforming.pull()).toEqual([]);
    expect(textsOf(await plain.take(4)).toSorted()).toEqual(texts.toSorted());
  });

  fact('a subscription’s function is told id, time and ordering key', unimplemented, async (pubsub) => {
    const reader = await pubsub.reader({
      messageTransforms: [udf('message.data = JSON.stringify(metadata); return message;')],
    });
    const [messageId] = await reader.publish({ data: base64('x'), orderingKey: 'k' });
    const [received] = await reader.take();
    expect(JSON.parse(textOf(received!))).toEqual({
      message_id: messageId,
      publish_time: received!.message.publishTime.replace(/\.\d+Z$/, 'Z'),
      ordering_key: 'k',
    });
  });

  fact('what is filtered out is acked, also where delivery is exactly once', unimplemented, async (pubsub) => {
    for (const config of [{}, { enableExactlyOnceDelivery: true }, { enableMessageOrdering: true }]) {
      const reader = await pubsub.reader({ ...config, messageTransforms: [hideWithoutSecrets] });
      await reader.publishInOrder('k', '{"hidden":true}', '{"a":1}', '{"hidden":true}', '{"a":2}');
      expect([await reader.next(), await reader.next()]).toEqual(['{"a":1}', '{"a":2}']);
      expect(await reader.pull()).toEqual([]);
      await pubsub.server.pass(700_000);
      expect(await reader.pull()).toEqual([]);
    }
  });

  fact('what a subscription’s function fails on is nacked, and holds up no other', unimplemented, async (pubsub) => {
    const dead = await pubsub.reader();
    const reader = await pubsub.reader({
      messageTransforms: [failOnBad],
      retryPolicy: { minimumBackoff: '1s', maximumBackoff: '1s' },
      deadLetterPolicy: { deadLetterTopic: dead.topic, maxDeliveryAttempts: 5 },
    });
    await reader.publish('bad', 'good');
    expect(await reader.next()).toBe('good');
    let forwarded = '';
    await until('it is dead-lettered', async () => {
      expect(await reader.pull()).toEqual([]);
      await pubsub.server.pass(1_100);
      const [received] = await dead.pull();
      forwarded = received ? textOf(received) : '';
      return forwarded !== '';
    });
    expect(forwarded).toBe('bad');
  });

  fact('a function can be changed, disabled and taken away', unimplemented, async (pubsub) => {
    const append = (text: string) => [udf(`message.data += '${text}'; return message;`)];
    const reader = await pubsub.reader({ messageTransforms: append('1') });
    const seen: string[] = [];
    for (const messageTransforms of [append('2'), [{ ...append('3')[0], disabled: true }], []]) {
      await reader.publish('0');
      seen.push(await reader.next());
      await reader.update({ messageTransforms }, 'message_transforms');
    }
    await reader.publish('0');
    expect([...seen, await reader.next()]).toEqual(['01', '02', '0', '0']);
    await pubsub.call('UpdateTopic', {
      topic: { name: reader.topic, messageTransforms: append('4') },
      updateMask: 'messageTransforms',
    });
    await reader.publish('0');
    expect(await reader.next()).toBe('04');
  });

  fact('transforms that cannot be are refused, and what they would change stays', unimplemented, async (pubsub) => {
    const ok = udf('return message;');
    const { topic, subscription, config } = await pubsub.reader({ messageTransforms: [ok] });
    const named = (functionName: string, code: string) => [{ javascriptUdf: { functionName, code } }];
    const cases: readonly (readonly [unknown, string])[] = [
      [Array.from({ length: 6 }, () => ok), 'at most 5'],
      [[{ disabled: true }], 'javascriptUdf is missing'],
      [named('', 'function f(m) { return m; }'), 'functionName'],
      [named('f()', 'function f(m) { return m; }'), 'functionName'],
      [named('f', ''), 'code'],
      [named('f', `function f(m) { return m; } // ${'x'.repeat(20_480)}`), '20480 bytes'],
      [named('g', 'function f(m) { return m; }'), 'no function "g"'],
      [named('f', 'function f(m) {'), 'SyntaxError'],
    ];
    for (const [messageTransforms, because] of cases) {
      const created = { name: pubsub.name('topics'), messageTransforms };
      await pubsub.refuses('CreateTopic', created, 'INVALID_ARGUMENT', because);
      const ofTopic = { topic: { name: topic, messageTransforms }, updateMask: 'message_transforms' };
      await pubsub.refuses('UpdateTopic', ofTopic, 'INVALID_ARGUMENT', because);
      const another = { name: pubsub.name('subscriptions'), topic, messageTransforms };
      await pubsub.refuses('CreateSubscription', another, 'INVALID_ARGUMENT', because);
      const changed = { subscription: { name: subscription, messageTransforms }, updateMask: 'message_transforms' };
      await pubsub.refuses('UpdateSubscription', changed, 'INVALID_ARGUMENT', because);
    }
    expect(await config()).toMatchObject({ messageTransforms: [ok] });
    expect(await pubsub.call('GetTopic', { topic })).not.toHaveProperty('messageTransforms');
  });
});

/** What streams do with them. */
export const transformsOnStreams = subject.ofGrpc('transforms on streams', (fact) => {
  fact('a stream gets what functions leave, within its flow control', unimplemented, async (pubsub) => {
    const { publish, subscription } = await pubsub.reader({
      messageTransforms: [udf('return Number(message.data) % 3 === 0 ? message : null;')],
    });
    const stream = pubsub.stream({ subscription, streamAckDeadlineSeconds: 10, maxOutstandingMessages: '4' });
    await publish(...Array.from({ length: 30 }, (_each, index) => String(index)));
    const texts: string[] = [];
    await until('ten messages', () => {
      const received = stream.received.splice(0);
      expect(received.length).toBeLessThanOrEqual(4);
      texts.push(...textsOf(received));
      if (received.length > 0) stream.send({ ackIds: received.map(({ ackId }) => ackId) });
      return texts.length >= 10;
    });
    expect(texts.map(Number).toSorted((a, b) => a - b)).toEqual([0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
  });
});
