import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';

test('all counterparties accept: the case closes a second later, and the client is told at every turn', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'accept', [gym]: 'accept' });
  expect(await story.status()).toBe('tracking');

  await story.advance('1s');
  expect(await story.status()).toBe('closed');
  expect(await story.clientWasTold()).toEqual([
    'We have opened your case',
    'Your letters are on their way',
    'Your case is closed',
  ]);
  expect(await story.pendingTimers()).toEqual([]);
});

test('a silent counterparty is reminded on day 30 and day 60, and on day 90 the case goes to a person', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent', [gym]: 'accept' });
  expect(await story.letter(cafe)).toMatchObject({ status: 'submitted', deadline: '2026-01-31' });

  await story.advance('29d');
  expect(await story.handedInAt(cafe)).toEqual(['L01']);
  await story.advance('1d');
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
  expect(await story.pendingTimers()).toEqual([{ name: 'response L01', due: '2026-03-02T00:00:00.000Z' }]);
  await story.advance('30d');
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1', 'L01 reminder 2']);
  expect(await story.status()).toBe('tracking');

  await story.advance('30d');
  expect(await story.handedInAt(cafe)).toHaveLength(3);
  expect(await story.handedInAt(gym)).toEqual(['L02']);
  expect(await story.case()).toMatchObject({
    status: 'escalated',
    reasons: ['Corner Café did not answer the dispute of EUR 12.50'],
  });
  expect((await story.clientWasTold()).at(-1)).toBe('A person looks after your case now');
  expect(await story.operatorsWereTold()).toEqual([`${story.id} needs a person`]);
  expect(await story.pendingTimers()).toEqual([]);
});

test('the response deadline and the number of reminders are settings', async () => {
  await using story = await CaseStory.begin({
    environment: { CASEWORK_RESPONSE_DEADLINE: '14d', CASEWORK_REMINDERS: '1' },
  });
  await story.open({ [cafe]: 'silent' });
  expect(await story.letter(cafe)).toMatchObject({ deadline: '2026-01-15' });
  await story.advance('14d');
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
  await story.advance('14d');
  expect(await story.status()).toBe('escalated');
});
