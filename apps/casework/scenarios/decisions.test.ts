import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';

/** One counterparty accepts, the other refuses: the case waits for a person. */
async function escalated(): Promise<CaseStory> {
  const story = await CaseStory.begin();
  await story.open({ [cafe]: 'reject', [gym]: 'accept' });
  await story.advance('1s');
  return story;
}

test('a refused dispute waits for a person, however long, and nothing else happens to it', async () => {
  await using story = await escalated();
  expect(await story.case()).toMatchObject({
    status: 'escalated',
    reasons: ['Corner Café rejected the dispute of EUR 12.50'],
  });
  const told = await story.mails();
  await story.advance('365d');
  expect(await story.status()).toBe('escalated');
  expect(await story.mails()).toEqual(told);
});

test('a person accepts the outcome: the case is reviewed once more and closes, and the client hears what comes back', async () => {
  await using story = await escalated();
  await story.advance('2d');
  expect(await story.ask('decision', { decision: 'accept', reason: 'half is better than nothing' })).toMatchObject({
    status: 201,
  });
  expect(await story.case()).toMatchObject({
    status: 'closed',
    admin: {
      decision: { kind: 'accept', reason: 'half is better than nothing', at: '2026-01-03T00:00:01.000Z' },
      notes: ['Corner Café rejected the dispute of EUR 12.50'],
      acceptedMinor: 1250,
    },
  });
  const mail = (await story.mails()).at(-1)!;
  expect(mail).toMatchObject({ to: 'client', subject: `Your case is closed (${story.id})` });
  expect(mail.text).toContain('Of the EUR 25.00 we disputed, EUR 12.50 will be returned to you');
  // The person's words are for the record.
  expect(mail.text).not.toContain('half is better');
  const trace = await story.trace();
  expect(trace).toContain('frontend → admin workflow.complete done');
  expect(trace.filter((line) => line.includes('compliance.review'))).toEqual([
    'tracking → admin compliance.review done',
    'admin → admin compliance.review done',
  ]);
});

test('a person closes the case: no other review, the reason is in the log', async () => {
  await using story = await escalated();
  expect(await story.ask('decision', { decision: 'close', reason: 'the client has moved away' })).toMatchObject({
    status: 201,
  });
  expect(await story.status()).toBe('closed');
  expect((await story.clientWasTold()).at(-1)).toBe('Your case is closed');
  expect((await story.trace()).filter((line) => line.includes('compliance.review'))).toHaveLength(1);
  expect(JSON.stringify(await story.log())).toContain('close: the client has moved away');
});

test('a decision on a case that waits for none is refused, and so is a second one', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'reject' });
  const close = { decision: 'close', reason: 'enough' };
  expect(await story.ask('decision', close)).toEqual({
    status: 409,
    detail: `case ${story.id} is tracking; only an escalated case waits for a decision`,
  });
  await story.advance('1s');
  expect((await story.ask('decision', { decision: 'perhaps', reason: '' })).status).toBe(400);
  expect((await story.ask('decision', close)).status).toBe(201);
  expect(await story.ask('decision', close)).toEqual({
    status: 409,
    detail: `case ${story.id} is closed; only an escalated case waits for a decision`,
  });
  expect((await story.clientWasTold()).filter((subject) => subject === 'Your case is closed')).toHaveLength(1);
});

test('a case that a person has not decided yet can be cancelled by its client', async () => {
  await using story = await escalated();
  expect((await story.ask('cancel', { reason: 'I let it be' })).status).toBe(201);
  expect(await story.status()).toBe('cancelled');
  expect(await story.withdrawnAt(cafe)).toBe(0);
});
