import { expect } from 'vitest';
import { until } from '../until.ts';
import { base64, type Pubsub, type Reader, type Received, textOf } from './pubsub.ts';
import { subject } from './subject.ts';

/** A reader with a dead-letter policy, and one of what is forwarded. */
async function readers(
  pubsub: Pubsub,
  policy: object = {},
): Promise<{ readonly reader: Reader; readonly dead: Reader }> {
  const dead = await pubsub.reader();
  const deadLetterPolicy = { deadLetterTopic: dead.topic, maxDeliveryAttempts: 5, ...policy };
  return { reader: await pubsub.reader({ deadLetterPolicy }), dead };
}

/** Source: google.pubsub.v1 DeadLetterPolicy, https://cloud.google.com/pubsub/docs/handling-failures */
export const deadLetters = subject('dead letters', (fact) => {
  fact('with a policy each delivery says which attempt it is, and without one it does not', async (pubsub) => {
    const { reader } = await readers(pubsub);
    await reader.publish('1');
    for (const attempt of [1, 2, 3]) {
      const [received] = await reader.take();
      expect(received!.deliveryAttempt).toBe(attempt);
      await reader.nack(received!);
    }
    const plain = await pubsub.reader();
    await plain.publish('1');
    expect((await plain.take())[0]!.deliveryAttempt ?? 0).toBe(0);
  });

  fact('after its last attempt a message is forwarded, with where it comes from', async (pubsub) => {
    const { reader, dead } = await readers(pubsub);
    const [messageId] = await reader.publish({ data: base64('1'), attributes: { a: 'b' }, orderingKey: 'k' });
    let publishTime = '';
    for (let attempt = 1; attempt <= 5; attempt++) {
      const [received] = await reader.take();
      ({ publishTime } = received!.message);
      await reader.nack(received!);
    }
    const { message } = await forwarded(reader, dead);
    const [, project, , subscription] = reader.subscription.split('/');
    expect(message).toMatchObject({
      data: base64('1'),
      orderingKey: 'k',
      attributes: {
        a: 'b',
        CloudPubSubDeadLetterSourceDeliveryCount: '5',
        CloudPubSubDeadLetterSourceSubscription: subscription,
        CloudPubSubDeadLetterSourceSubscriptionProject: project,
      },
    });
    const { CloudPubSubDeadLetterSourceTopicPublishTime: forwardedTime } = message.attributes!;
    expect(Date.parse(forwardedTime!)).toBe(Date.parse(publishTime));
    expect(message.messageId).not.toBe(messageId);
  });

  fact('a deadline that passes is an attempt as a nack is', async (pubsub) => {
    const { reader, dead } = await readers(pubsub);
    await reader.publish('1');
    for (let attempt = 1; attempt <= 5; attempt++) {
      await reader.extend(1, ...(await reader.take()));
      await pubsub.server.pass(1_500);
    }
    expect(textOf(await forwarded(reader, dead))).toBe('1');
  });

  fact('what is acked at its last attempt is not forwarded', async (pubsub) => {
    const { reader, dead } = await readers(pubsub);
    await reader.publish('1');
    for (let attempt = 1; attempt <= 4; attempt++) await reader.nack(...(await reader.take()));
    expect(await reader.next()).toBe('1');
    await dead.publish('2');
    expect(await dead.next()).toBe('2');
    expect(await dead.pull()).toEqual([]);
  });

  fact('attempts are 5 to 100, and 5 where none are given', { gap: 34 }, async (pubsub) => {
    const { reader, dead } = await readers(pubsub, { maxDeliveryAttempts: 0 });
    expect(await reader.config()).toMatchObject({
      deadLetterPolicy: { deadLetterTopic: dead.topic, maxDeliveryAttempts: 5 },
    });
    for (const maxDeliveryAttempts of [4, 101, -1]) {
      const deadLetterPolicy = { deadLetterTopic: dead.topic, maxDeliveryAttempts };
      const made = { name: pubsub.name('subscriptions'), topic: reader.topic, deadLetterPolicy };
      await pubsub.refuses('CreateSubscription', made, 'INVALID_ARGUMENT', String(maxDeliveryAttempts));
    }
  });

  fact('a dead-letter topic must be there', async ({ topic, name, refuses }) => {
    const deadLetterPolicy = { deadLetterTopic: name('topics'), maxDeliveryAttempts: 5 };
    const made = { name: name('subscriptions'), topic: await topic(), deadLetterPolicy };
    await refuses('CreateSubscription', made, 'NOT_FOUND');
  });

  fact('a policy can be changed and taken away', async (pubsub) => {
    const { reader, dead } = await readers(pubsub);
    const deadLetterPolicy = { deadLetterTopic: dead.topic, maxDeliveryAttempts: 6 };
    await reader.update({ deadLetterPolicy }, 'dead_letter_policy');
    expect(await reader.config()).toMatchObject({ deadLetterPolicy });
    await reader.update({}, 'dead_letter_policy');
    expect(await reader.config()).not.toHaveProperty('deadLetterPolicy');
  });
});

/** The message that its own subscription does not offer any more. */
function forwarded(reader: Reader, dead: Reader): Promise<Received> {
  return until('a dead letter', async () => {
    expect(await reader.pull()).toEqual([]);
    return (await dead.pull())[0];
  });
}
