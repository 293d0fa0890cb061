import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';
const reason = { reason: 'changed my mind' };

test('cancelled while the bank is asked: no letter is written, nobody but the client is told', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'bank', mode: 'hang' });
  await story.open(
    {},
    { source: 'sandbox-bank', accountId: 'household-1014', period: { from: '2025-01-01', to: '2025-01-31' } },
  );
  expect(await story.status()).toBe('fetching');
  expect((await story.ask('cancel', reason)).status).toBe(201);
  await story.mend();
  await story.advance('1d');
  expect(await story.status()).toBe('cancelled');
  expect(await story.grounds()).toEqual([{ outcome: 'cancelled', reasons: ['changed my mind'] }]);
  expect(await story.letters()).toEqual([]);
  expect(await story.clientWasTold()).toEqual(['We have opened your case', 'Your case is withdrawn']);
  expect((await story.outside()).counts.withdrawal.effects).toBe(0);
});

test('cancelled after the letters: timers are gone, whoever has not answered is told so once, the client too', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent', [gym]: 'accept', 'City Pool': 'silent' });
  await story.advance('31d');
  expect((await story.ask('cancel', reason)).status).toBe(201);
  expect(await story.status()).toBe('cancelled');
  expect(await story.pendingTimers()).toEqual([]);
  expect((await story.letters()).map(({ merchant, status }) => [merchant, status])).toEqual([
    [cafe, 'withdrawn'],
    [gym, 'accepted'],
    ['City Pool', 'withdrawn'],
  ]);
  expect((await story.outside()).counts.withdrawal).toEqual({ effects: 2, distinctKeys: 2, repeats: 0 });
  expect((await story.clientWasTold()).at(-1)).toBe('Your case is withdrawn');
  await story.advance('365d');
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
});

test('cancelled while a letter goes out: the letter is out, and is withdrawn', async () => {
  await using story = await CaseStory.begin();
  // It is taken, and its answer lost: the caller waits half a minute, then asks again.
  await story.fault({ target: 'counterparties', mode: 'hang', times: 1 });
  await story.open({ [cafe]: 'silent' });
  expect(await story.letter(cafe)).toMatchObject({ status: 'written' });
  expect((await story.ask('cancel', reason)).status).toBe(201);
  expect(await story.status()).toBe('cancelled');
  await story.advance('2m');
  expect(await story.withdrawnAt(cafe)).toBe(1);
  expect(await story.letter(cafe)).toMatchObject({ status: 'withdrawn' });
});

test('a counterparty that is down when the case is cancelled is told when it is well again, once', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.fault({ target: 'counterparties', mode: 'status', status: 503, forMs: 3_600_000 });
  await story.ask('cancel', reason);
  expect(await story.status()).toBe('cancelled');
  await story.advance('59m');
  expect(await story.withdrawnAt(cafe)).toBe(0);
  await story.advance('20m');
  expect(await story.withdrawnAt(cafe)).toBe(1);
  expect(await story.operatorsWereTold()).toEqual([]);
});

test('a case that is over is not cancelled any more', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'accept' });
  await story.advance('1s');
  expect(await story.ask('cancel', reason)).toEqual({
    status: 409,
    detail: `case ${story.id} is closed; only a case that is not over can be cancelled`,
  });
});

test('a cancel that comes while the reminder goes out wins: no timer is left', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.fault({ target: 'counterparties', mode: 'hang', times: 1 });
  await story.advance('30d');
  await story.ask('cancel', reason);
  expect(await story.status()).toBe('cancelled');
  await story.advance('365d');
  expect(await story.pendingTimers()).toEqual([]);
  expect(await story.letter(cafe)).toMatchObject({ status: 'withdrawn' });
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
});

test('a cancel that comes at the moment the reminder is due: either went first, and both end in a cancelled case', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.advance('29d');
  const day = 86_400_000;
  // Not awaited: the timer fires while the command is under way.
  const cancelled = story.ask('cancel', reason);
  await story.story.advanceTo(story.story.now + day);
  expect((await cancelled).status).toBe(201);
  expect(await story.status()).toBe('cancelled');
  expect(await story.pendingTimers()).toEqual([]);
  expect(await story.withdrawnAt(cafe)).toBe(1);
});
