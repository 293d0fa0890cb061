import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1 RetryPolicy. */
export const retryPolicy = subject('retry policy', (fact) => {
  fact('without one, a nacked message comes again soon, however often', async ({ reader }) => {
    const { publish, take, nack, next } = await reader();
    await publish('1');
    for (let attempt = 1; attempt <= 5; attempt++) await nack(...(await take()));
    expect(await next()).toBe('1');
  });

  fact(
    'a nacked message waits for the least backoff, from the first time on',
    { gap: 5 },
    async ({ reader, server }) => {
      const { publish, take, nack, pull, next } = await reader({ retryPolicy: { minimumBackoff: '300s' } });
      await publish('1');
      await nack(...(await take()));
      await server.pass(280_000);
      expect(await pull()).toEqual([]);
      await server.pass(21_000);
      expect(await next()).toBe('1');
    },
  );

  fact('so does one whose deadline has passed', { gap: 5 }, async ({ reader, server }) => {
    const { publish, take, extend, pull, next } = await reader({ retryPolicy: { minimumBackoff: '300s' } });
    await publish('1');
    await extend(1, ...(await take()));
    await server.pass(1_000);
    await server.pass(280_000);
    expect(await pull()).toEqual([]);
    await server.pass(21_000);
    expect(await next()).toBe('1');
  });

  fact('each backoff is longer than the one before, up to the most', { gap: 5 }, async ({ reader, server }) => {
    const backoffs = { minimumBackoff: '100s', maximumBackoff: '400s' };
    const { publish, take, nack, pull, next } = await reader({ retryPolicy: backoffs });
    await publish('1');
    for (const backoffMs of [100_000, 200_000, 400_000, 400_000]) {
      await nack(...(await take()));
      await server.pass(backoffMs - 20_000);
      expect(await pull()).toEqual([]);
      await server.pass(21_000);
    }
    expect(await next()).toBe('1');
  });

  fact('a message that backs off holds up no other', { gap: 5 }, async ({ reader }) => {
    const { publish, take, nack, next } = await reader({ retryPolicy: { minimumBackoff: '600s' } });
    await publish('1');
    await nack(...(await take()));
    await publish('2');
    await publish('3');
    expect([await next(), await next()].toSorted()).toEqual(['2', '3']);
  });

  fact('a policy can be changed and taken away', async ({ reader }) => {
    const { config, update } = await reader({ retryPolicy: { minimumBackoff: '1s', maximumBackoff: '2s' } });
    await update({ retryPolicy: { minimumBackoff: '3s', maximumBackoff: '4s' } }, 'retry_policy');
    expect(await config()).toMatchObject({ retryPolicy: { minimumBackoff: '3s', maximumBackoff: '4s' } });
    await update({}, 'retry_policy');
    expect(await config()).not.toHaveProperty('retryPolicy');
  });
});
