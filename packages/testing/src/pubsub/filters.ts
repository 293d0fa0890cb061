import { expect } from 'vitest';
import { textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

const published = [
  { attributes: { name: 'none' } },
  { attributes: { name: 'a', kind: 'a' } },
  { attributes: { name: 'b', kind: 'b' } },
  { attributes: { name: 'ab', kind: 'ab', 'odd key': '"\\' } },
];

/** The filter, and the names of what it lets through. Source: https://cloud.google.com/pubsub/docs/subscription-message-filter */
const filtered: readonly (readonly [filter: string, ...names: readonly string[]])[] = [
  ['attributes:kind', 'a', 'b', 'ab'],
  ['NOT attributes:kind', 'none'],
  ['-attributes:kind', 'none'],
  ['attributes.kind = "a"', 'a'],
  ['attributes.kind="a"', 'a'],
  ['attributes.kind != "a"', 'none', 'b', 'ab'],
  ['hasPrefix(attributes.kind, "a")', 'a', 'ab'],
  ['NOT hasPrefix(attributes.kind, "a")', 'none', 'b'],
  ['hasPrefix(attributes.kind, "")', 'a', 'b', 'ab'],
  ['attributes.kind = "a" OR attributes.kind = "b"', 'a', 'b'],
  ['attributes:kind AND NOT attributes.kind = "a"', 'b', 'ab'],
  ['attributes:kind AND (attributes.kind = "a" OR attributes.kind = "b")', 'a', 'b'],
  ['NOT (attributes.kind = "a" OR attributes.kind = "b")', 'none', 'ab'],
  ['attributes."kind" = "a"', 'a'],
  ['attributes:"odd key"', 'ab'],
  ['attributes."odd key" = "\\"\\\\"', 'ab'],
];

const refused: readonly (readonly [filter: string, because: string])[] = [
  ['nonsense((', ''],
  ['attributes', ''],
  ['attributes.kind', ''],
  ['attributes.kind = a', ''],
  ['attributes.kind = "a', ''],
  ['attributes.kind > "a"', ''],
  ['data = "a"', ''],
  ['attributes:odd key', ''],
  ['attributes:a and attributes:b', ''],
  ['(attributes:a', ''],
  ['attributes:a)', ''],
  ['hasPrefix(attributes.kind)', ''],
  ['attributes:a AND attributes:b OR attributes:c', 'parentheses'],
  [`attributes.a = "${'x'.repeat(242)}"`, '256'],
];

export const filters = subject('filters', (fact) => {
  for (const [filter, ...names] of filtered) {
    fact(`${filter} lets through ${names.join(', ')}`, { gap: 2 }, async ({ reader }) => {
      const { publish, take, pull } = await reader({ filter });
      await publish(...published);
      const taken = await take(names.length);
      expect(taken.map(({ message }) => message.attributes!.name).toSorted()).toEqual(names.toSorted());
      expect(await pull()).toEqual([]);
    });
  }

  fact('a filter that is none is refused when it is set', { gap: 2 }, async ({ topic, name, refuses }) => {
    const made = { name: name('subscriptions'), topic: await topic() };
    for (const [filter, because] of refused) {
      await refuses('CreateSubscription', { ...made, filter }, 'INVALID_ARGUMENT', because);
    }
  });

  fact('a filter of 256 bytes is taken', async ({ reader }) => {
    const filter = `attributes.a = "${'x'.repeat(239)}"`;
    expect(Buffer.byteLength(filter)).toBe(256);
    expect(await (await reader({ filter })).config()).toMatchObject({ filter });
  });

  fact('a filter can not be changed', async ({ reader, refuses }) => {
    const { subscription } = await reader({ filter: 'attributes:a' });
    const changed = { name: subscription, filter: 'attributes:b' };
    await refuses('UpdateSubscription', { subscription: changed, updateMask: 'filter' }, 'INVALID_ARGUMENT', 'filter');
  });

  fact('the filter of one subscription is no other’s', { gap: 2 }, async ({ reader }) => {
    const one = await reader({ filter: 'attributes:a' });
    const other = await reader({ topic: one.topic });
    await one.publish({ data: 'aGk=' });
    expect(textsOf(await other.take())).toEqual(['hi']);
    expect(await one.pull()).toEqual([]);
  });
});
