import { expect, test } from 'vitest';
import * as z from 'zod';
import { durationMs } from './duration.ts';
import { on, type SubscriptionOptions, service } from './service.ts';
import { refOf } from './state-store.ts';
import { system } from './system.ts';
import { topic } from './topic.ts';

const asked = topic('thing.asked', { schema: z.object({}) });
const nothing = async () => {};

test('a subscription is named after its service and topic, with the defaults of its policy', () => {
  const [subscription] = service('taker', [on(asked, nothing)]).subscriptions;
  expect(subscription).toMatchObject({
    name: 'taker.thing.asked',
    ackDeadlineMs: 600_000,
    retry: { attempts: 5, minBackoffMs: 10_000, maxBackoffMs: 600_000 },
    order: undefined,
  });
});

test('where order is asked for, a poisoned key is set aside by default', () => {
  const [subscription] = service('taker', [on(asked, nothing, { order: 'workflow' })]).subscriptions;
  expect(subscription!.order).toEqual({ poison: 'park-key' });
});

test.each<[SubscriptionOptions, RegExp]>([
  [{ ackDeadline: '5s' }, /"taker\.thing\.asked": ackDeadline must be 10s to 600s, got "5s"/],
  [{ ackDeadline: '601s' }, /must be 10s to 600s/],
  [{ ackDeadline: 'soon' as '5s' }, /"soon" is not a duration/],
  [{ retry: { attempts: 0 } }, /attempts must be a whole number from 1 to 100, got 0/],
  [{ retry: { minBackoff: '2h', maxBackoff: '1h' } }, /minBackoff 2h is above retry.maxBackoff 1h/],
  [{ order: 'key' as 'workflow' }, /"taker\.thing\.asked": order must be "workflow", got "key"/],
  [{ order: 'workflow', poison: 'skip' as 'park' }, /poison must be "block" or "park" or "park-key", got "skip"/],
  [{ poison: 'park' }, /poison is of ordered events; add order: "workflow"/],
  [{ name: 'no spaces' }, /"taker.no spaces" is not a name/],
])('the options %j are refused with the value and the remedy', (options, message) => {
  expect(() => service('taker', [on(asked, nothing, options)])).toThrow(message);
});

test('a service that declares one subscription twice is refused, unless one has a name of its own', () => {
  expect(() => service('taker', [on(asked, nothing), on(asked, nothing)])).toThrow(
    /declares subscription "taker.thing.asked" twice/,
  );
  expect(service('taker', [on(asked, nothing), on(asked, nothing, { name: 'again' })]).subscriptions).toHaveLength(2);
});

test('limits out of range are refused', () => {
  expect(() => service('taker', [], { concurrency: 0 })).toThrow(
    /concurrency must be a whole number from 1 to 1000, got 0/,
  );
});

test.each(['', 'ab', '1abc', 'google', 'a/b', 'a b', 'ä'.repeat(3), 'x'.repeat(101)])('"%s" is no name', (name) => {
  expect(() => topic(name, { schema: z.object({}) })).toThrow(/is not a name; use a letter/);
});

test('a system that declares a topic twice is refused', () => {
  expect(() => system('things', { topics: [asked, asked], services: {} })).toThrow(
    /declares topic "thing.asked" twice/,
  );
});

test.each([
  ['500ms', 500],
  ['1.5s', 1_500],
  ['10m', 600_000],
  ['12h', 43_200_000],
  ['30d', 2_592_000_000],
])('%s is %d ms', (text, ms) => {
  expect(durationMs(text)).toBe(ms);
});

test.each(['36501d', '9e9d', '1w', '-1s', '99999999999999999999d'])('%s is no duration', (text) => {
  expect(() => durationMs(text, 'thing')).toThrow(`thing: "${text}" is `);
});

test('a reference keeps ids apart whatever they hold', () => {
  expect(refOf('a', 'x/y', 'b', '...')).toBe('a/x%2Fy/b/...');
  expect(() => refOf('a')).toThrow(/no path of pairs/);
  expect(() => refOf('a', '')).toThrow(/no path of pairs/);
});
