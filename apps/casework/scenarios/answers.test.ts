import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';

test('an answer after the first reminder counts: the case closes, and no second reminder goes out', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.advance('45d');
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
  expect((await story.answer('L01', 'accepted')).status).toBe(201);
  expect(await story.status()).toBe('closed');
  expect(await story.pendingTimers()).toEqual([]);
  await story.advance('90d');
  expect(await story.handedInAt(cafe)).toHaveLength(2);
});

test('an answer after the case went to a person closes it after all, where it was the last objection', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent', [gym]: 'silent' });
  await story.advance('90d');
  expect(await story.status()).toBe('escalated');

  await story.answer('L01', 'accepted');
  expect(await story.case()).toMatchObject({
    status: 'escalated',
    reasons: ['City Gym did not answer the dispute of EUR 12.50'],
  });
  await story.answer('L02', 'accepted');
  expect(await story.status()).toBe('closed');
  expect(await story.clientWasTold()).toEqual([
    'We have opened your case',
    'Your letters are on their way',
    'A person looks after your case now',
    'Your case is closed',
  ]);
});

test('the same webhook twice is one answer; another one to the same letter changes nothing and says so', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent', [gym]: 'silent' });
  expect((await story.answer('L01', 'accepted', { webhookId: 'msg_1' })).status).toBe(201);
  expect((await story.answer('L01', 'accepted', { webhookId: 'msg_1' })).status).toBe(201);
  const answers = async () => (await story.trace()).filter((line) => line.includes('response.received'));
  expect(await answers()).toEqual(['counterparty → tracking response.received done']);

  expect((await story.answer('L01', 'rejected', { webhookId: 'msg_2' })).status).toBe(201);
  expect(await answers()).toEqual([
    'counterparty → tracking response.received done',
    'counterparty → tracking response.received done (rejected, but answered before: accepted stands)',
  ]);
  expect(await story.letter(cafe)).toMatchObject({ status: 'accepted' });
});

test('an answer to a cancelled case is taken and noted, and changes nothing', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.ask('cancel', { reason: 'changed my mind' });
  expect((await story.answer('L01', 'accepted')).status).toBe(201);
  expect(await story.status()).toBe('cancelled');
  expect(await story.trace()).toContain(
    'counterparty → tracking response.received done (accepted, but the case is cancelled: nothing changes)',
  );
  expect((await story.clientWasTold()).at(-1)).toBe('Your case is withdrawn');
});

test('an answer signed with another secret is refused, and reaches nobody', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  const secret = `whsec_${Buffer.from('a secret that is not ours, but long').toString('base64')}`;
  const { status, detail } = await story.answer('L01', 'accepted', { secret });
  expect(status).toBe(400);
  expect(detail).toContain('webhook-signature does not match');
  expect(await story.letter(cafe)).toMatchObject({ status: 'submitted' });
  expect((await story.trace()).filter((line) => line.includes('response.received'))).toEqual([]);
});

test('a counterparty whose confirmations are lost answers all the same: its answer counts, and its letter is one', async () => {
  await using story = await CaseStory.begin();
  await story.fault({ target: 'counterparties', mode: 'reset', forMs: 86_400_000 });
  await story.open({ [cafe]: 'accept', [gym]: 'silent' });
  await story.advance('10s');
  expect(await story.letter(cafe)).toMatchObject({ status: 'accepted' });
  expect(await story.letter(gym)).toMatchObject({ status: 'written' });
  expect(await story.status()).toBe('tracking');
  await story.answer('L02', 'accepted');
  expect(await story.status()).toBe('closed');
  expect((await story.outside()).counts.submission).toMatchObject({ effects: 2, distinctKeys: 2 });
  expect((await story.trace()).filter((line) => line.includes('response.received'))).toEqual(
    Array(2).fill('counterparty → tracking response.received done'),
  );
});
