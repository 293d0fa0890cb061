import type { DeadLetter } from '@dormouse/core';
import { expect, test } from 'vitest';
import type { Fault } from '../sandbox/faults.ts';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';
const bankStatement = {
  source: 'sandbox-bank',
  accountId: 'household-1014',
  period: { from: '2025-01-01', to: '2025-01-31' },
};
const minute = 60_000;
const hour = 60 * minute;

test.each<[string, Fault, string]>([
  [
    'hangs for a minute',
    { target: 'bank', mode: 'hang', forMs: minute },
    'bank at http://127.0.0.1:… gave no answer within 30000 ms; try again later',
  ],
  [
    'cuts the connection twice',
    { target: 'bank', mode: 'reset', times: 2 },
    'bank at http://127.0.0.1:… could not be reached: ECONNRESET; try again later',
  ],
  [
    'answers 500 for a minute',
    { target: 'bank', mode: 'status', status: 500, forMs: minute },
    'bank at http://127.0.0.1:… answered 500; try again later',
  ],
  [
    'answers nonsense twice',
    { target: 'bank', mode: 'malformed', times: 2 },
    'bank at http://127.0.0.1:… answered with what is no JSON; try again later',
  ],
])(
  'the bank %s, then is well: the case waits, goes on, and the trace tells what was wrong',
  async (_what, fault, error) => {
    await using story = await CaseStory.begin();
    await story.fault(fault);
    await story.open({}, bankStatement);
    expect(await story.status()).toBe('fetching');
    await story.advance('3m');
    expect(await story.status()).toBe('closed');
    const { rows } = await story.story.trace(story.id);
    const fetched = rows.find(({ topic }) => topic === 'data.fetch')!;
    expect(fetched.status).toBe('done');
    expect(fetched.attempts).toBeGreaterThan(1);
    expect(new Set(fetched.errors.map((text) => text.replace(/:\d+/, ':…')))).toEqual(
      new Set([expect.stringContaining(error)]),
    );
    expect(await story.operatorsWereTold()).toEqual([]);
  },
);

test.each<Fault['target']>(['bank', 'counterparties', 'mail', 'sms'])(
  '%s is down for an hour: nothing dies of it, nobody is alarmed, and the case ends well',
  async (target) => {
    await using story = await CaseStory.begin();
    await story.fault({ target, mode: 'status', status: target === 'mail' ? 451 : 503, forMs: hour });
    await story.open({}, bankStatement);
    await story.advance('59m');
    const { rows } = await story.story.trace(story.id);
    expect(rows.some(({ status }) => status === 'retrying')).toBe(true);
    await story.advance('31m');
    expect(await story.status()).toBe('closed');
    expect(await story.deadLetters()).toEqual([]);
    expect(await story.operatorsWereTold()).toEqual([]);
    expect(await story.clientWasTold()).toEqual([
      'We have opened your case',
      'Your letters are on their way',
      'Your case is closed',
    ]);
    const { counts } = await story.outside();
    for (const { effects, distinctKeys } of Object.values(counts)) expect(distinctKeys).toBe(effects);
  },
);

test('the mail server is down for ten minutes: the case goes on, the client gets text messages, and each mail after, once', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'mail', mode: 'status', forMs: 10 * minute });
  await story.open({ [cafe]: 'accept' });
  await story.advance('9m');
  expect(await story.status()).toBe('closed');
  expect(await story.clientWasTold()).toEqual([]);
  expect((await story.outside()).counts.sms).toEqual({ effects: 3, distinctKeys: 3, repeats: 0 });

  await story.advance('15m');
  const { counts } = await story.outside();
  expect(counts.mail).toEqual({ effects: 3, distinctKeys: 3, repeats: 0 });
  expect(counts.sms).toEqual({ effects: 3, distinctKeys: 3, repeats: 0 });
  expect((await story.case()).communication?.emailed).toMatchObject({
    opened: expect.anything(),
    closed: expect.anything(),
  });
});

test('the mail server is down for a day: the mails of the case wait behind the first, which an operator sends again, and come in its order', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'mail', mode: 'status', status: 451, forMs: 24 * hour });
  await story.open({ [cafe]: 'accept' });
  await story.advance('1d');
  expect([await story.status(), await story.clientWasTold()]).toEqual(['closed', []]);
  const letters = (await story.deadLetters()) as (DeadLetter & { held?: number })[];
  const ofClient = letters.filter(({ topic }) => topic === 'notify.client');
  expect(ofClient).toMatchObject([{ subscription: 'communication.notify.client', attempts: 25, held: 2 }]);
  const { rows } = await story.story.trace(story.id);
  expect(rows.filter(({ status }) => status === 'held').map(({ topic }) => topic)).toEqual([
    'notify.client',
    'notify.client',
  ]);

  await story.redrive(ofClient[0]!.id);
  await story.advance('1m');
  expect(await story.clientWasTold()).toEqual([
    'We have opened your case',
    'Your letters are on their way',
    'Your case is closed',
  ]);
  expect((await story.outside()).counts.sms).toEqual({ effects: 3, distinctKeys: 3, repeats: 0 });
});

test('a mail that fails once is sent before those of later turns of the case', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'mail', mode: 'status', status: 451, times: 1 });
  await story.open({ [cafe]: 'accept' });
  await story.advance('1m');
  expect(await story.clientWasTold()).toEqual([
    'We have opened your case',
    'Your letters are on their way',
    'Your case is closed',
  ]);
});

test.each(['hang', 'reset', 'malformed'] as const)(
  'the mail server takes a mail and its answer is lost (%s): it comes again under the same key, which tells them apart',
  async (mode) => {
    await using story = await CaseStory.begin();
    await story.fault({ target: 'mail', mode, times: 1 });
    await story.open({ [cafe]: 'accept' });
    await story.advance('1m');
    expect((await story.outside()).counts.mail).toEqual({ effects: 3, distinctKeys: 3, repeats: 1 });
  },
);

test('text messages are refused for ten minutes: mails go out at once, text messages after, once', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'sms', mode: 'hang', forMs: 10 * minute });
  await story.open({ [cafe]: 'accept' });
  await story.advance('5m');
  expect(await story.clientWasTold()).toHaveLength(3);
  await story.advance('20m');
  const { counts } = await story.outside();
  // What hangs has been taken, so each comes again; the gateway knows its key.
  expect(counts.sms).toMatchObject({ effects: 3, distinctKeys: 3 });
  expect(counts.mail).toEqual({ effects: 3, distinctKeys: 3, repeats: 0 });
});

test('a counterparty takes the letter and its answer is lost: it is asked again under the same key, and has one letter', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'counterparties', mode: 'malformed', times: 1 });
  await story.open({ [cafe]: 'accept', [gym]: 'accept' });
  await story.advance('1m');
  expect(await story.status()).toBe('closed');
  expect((await story.outside()).counts.submission).toEqual({ effects: 2, distinctKeys: 2, repeats: 1 });
});

test('a counterparty that is down when a reminder is due: a dead letter; redriven, the reminder goes out and the next is due', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.advance('29d');
  await story.fault({ target: 'counterparties', mode: 'status' });
  await story.advance('3d');
  expect(await story.status()).toBe('escalated');
  expect(await story.pendingTimers()).toEqual([]);

  const [letter] = await story.deadLetters();
  await story.mend();
  expect(letter).toMatchObject({ topic: 'workflow.followup', subscription: 'tracking.workflow.followup' });
  await story.redrive(letter!.id);
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
  expect(await story.pendingTimers()).toEqual([{ name: 'response L01', due: '2026-03-04T00:00:00.000Z' }]);
  await story.answer('L01', 'accepted');
  expect(await story.status()).toBe('closed');
});

test('a bank that is down for a day: after an hour and more a dead letter, a person; redriven, the case goes on and closes', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'bank', mode: 'status', forMs: 24 * hour });
  await story.open({}, bankStatement);
  await story.advance('1d');
  const [letter] = await story.deadLetters();
  expect(letter!.cause).toMatch(/bank at http:\S+ answered 503; try again later$/);
  expect(await story.case()).toMatchObject({
    status: 'escalated',
    // What a client may read: not where our bank is.
    reasons: [`data.fetch failed 25 times; dead letter ${letter!.id} tells why`],
  });
  expect(await story.operatorsWereTold()).toEqual([`dead letter ${letter!.id}`, `${story.id} needs a person`]);

  await story.redrive(letter!.id);
  await story.advance('1m');
  expect(await story.status()).toBe('closed');
  expect(await story.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('an account that the bank does not know: the client is told so, not where the bank is', async () => {
  await using story = await CaseStory.begin();
  await story.open({}, { ...bankStatement, accountId: 'nobody' });
  expect(await story.status()).toBe('rejected');
  expect(await story.grounds()).toEqual([
    {
      outcome: 'rejected',
      reasons: ['the bank gives no such statement (it answered 404): check account and period'],
    },
  ]);
});
