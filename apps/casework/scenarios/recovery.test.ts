import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const gym = 'City Gym';

/** One of two counterparties refuses its letter for good. */
async function poisoned(): Promise<CaseStory> {
  const story = await CaseStory.begin();
  await story.fault({ target: 'counterparties', mode: 'status', status: 400, matching: gym });
  await story.open({ [cafe]: 'accept', [gym]: 'accept' });
  return story;
}

test('a letter that is refused for good is a dead letter at once; operators are told, and the other letter goes on', async () => {
  await using story = await poisoned();
  const [letter] = await story.deadLetters();
  expect(letter).toMatchObject({ state: 'open', topic: 'document.submit', attempts: 1, code: 'step.permanent' });
  expect(await story.operatorsWereTold()).toEqual([`dead letter ${letter!.id}`, `${story.id} needs a person`]);
  expect((await story.trace()).filter((line) => line.includes('document.submit')).toSorted()).toEqual([
    'processing → processing document.submit dead-lettered',
    'processing → processing document.submit done',
  ]);
  await story.advance('1s');
  expect(await story.status()).toBe('escalated');
  expect(await story.letter(cafe)).toMatchObject({ status: 'accepted' });
  expect(await story.letter(gym)).toMatchObject({ status: 'written' });
});

test('redriven, it goes to the one subscription that failed, the others do not run again, and the case closes', async () => {
  await using story = await poisoned();
  await story.advance('1s');
  const submissions = await story.story.tap('document.submit');
  const before = await story.outside();
  const [letter] = await story.deadLetters();
  // The counterparty has mended it.
  await story.mend();
  await story.redrive(letter!.id);

  const [sent, ...more] = await submissions();
  expect(sent!.attributes).toMatchObject({ 'dormouse-to': 'processing.document.submit' });
  expect(more).toEqual([]);
  const after = await story.outside();
  expect(after.counts.submission.effects).toBe(before.counts.submission.effects + 1);
  expect(after.counts.submission.repeats).toBe(0);

  await story.advance('1s');
  expect(await story.status()).toBe('closed');
  expect(await story.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('discarded instead, it stays on record with the reason, and a person decides the case', async () => {
  await using story = await poisoned();
  await story.advance('1s');
  const [letter] = await story.deadLetters();
  await story.story.post(`/api/dead-letters/${letter!.id}/discard`, { reason: 'the merchant is gone' });
  expect(await story.deadLetters()).toMatchObject([
    { state: 'discarded', discarded: { reason: 'the merchant is gone' } },
  ]);
  expect(
    (await story.story.fetch(`/api/dead-letters/${letter!.id}/redrive`, { method: 'POST', body: '{}' })).status,
  ).toBe(409);
  expect(await story.status()).toBe('escalated');
  await story.ask('decision', { decision: 'accept', reason: 'what the other paid will do' });
  expect(await story.case()).toMatchObject({ status: 'closed', admin: { acceptedMinor: 1250 } });
});

test('what the wire itself gave up on is a dead letter: operators are told, the case goes to a person, and redriven it goes on', async () => {
  await using story = await CaseStory.begin();
  const tracked = await story.story.tap('workflow.track');
  await story.open({ [cafe]: 'silent' });
  const [message] = await tracked();
  // As Pub/Sub forwards a message that nobody ever settled.
  await story.story.publish('dead.letter', {
    data: message!.data,
    attributes: {
      ...message!.attributes,
      'ce-id': 'never-settled',
      'dormouse-to': 'tracking.workflow.track',
      CloudPubSubDeadLetterSourceDeliveryCount: '100',
      CloudPubSubDeadLetterSourceSubscription: 'tracking.workflow.track',
      CloudPubSubDeadLetterSourceSubscriptionProject: 'dormouse',
    },
  });
  const [letter] = await story.deadLetters();
  expect(letter).toMatchObject({ code: 'delivery.unanswered', subscription: 'tracking.workflow.track', state: 'open' });
  expect(await story.status()).toBe('escalated');
  expect(await story.operatorsWereTold()).toContain(`dead letter ${letter!.id}`);
  await story.redrive(letter!.id);
  expect(await story.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('what nobody settles in a hundred deliveries goes to dead.letter, from every subscription but its own', async () => {
  await using story = await CaseStory.begin();
  const answer = await fetch(`${story.story.brokerUrl}/v1/projects/dormouse/subscriptions?pageSize=100`);
  const { subscriptions } = (await answer.json()) as {
    subscriptions: { name: string; deadLetterPolicy?: { deadLetterTopic: string; maxDeliveryAttempts: number } }[];
  };
  const without = subscriptions.filter(({ deadLetterPolicy }) => deadLetterPolicy === undefined);
  expect(without.map(({ name }) => name)).toEqual(['projects/dormouse/subscriptions/admin.dead.letter']);
  expect(subscriptions[0]!.deadLetterPolicy).toEqual({
    deadLetterTopic: 'projects/dormouse/topics/dead.letter',
    maxDeliveryAttempts: 100,
  });
});

test('every event of a case brought twice by the wire changes nothing, neither at once nor after the case is over', async () => {
  await using story = await CaseStory.begin();
  const topics = [
    'workflow.initiate',
    'data.fetch',
    'data.analyze',
    'document.generate',
    'document.submit',
    'workflow.track',
    'response.received',
    'compliance.review',
    'workflow.complete',
    'notify.client',
  ];
  const taps = await Promise.all(topics.map(async (topic) => ({ topic, tap: await story.story.tap(topic) })));
  await story.open({ [cafe]: 'accept', [gym]: 'accept' });
  const bringAgain = async () => {
    for (const { topic, tap } of taps) for (const message of await tap()) await story.story.publish(topic, message);
  };
  const seen = async () => ({
    case: await story.case(),
    outside: await story.outside(),
    log: (await story.log()).length,
  });

  const underWay = await seen();
  await bringAgain();
  expect(await seen()).toEqual(underWay);

  await story.advance('1s');
  const over = await seen();
  expect(over.case.status).toBe('closed');
  await bringAgain();
  expect(await seen()).toEqual(over);
});

test('the message of a timer that was set anew since is stale: the reminder is not sent twice', async () => {
  await using story = await CaseStory.begin();
  const followups = await story.story.tap('workflow.followup');
  await story.open({ [cafe]: 'silent' });
  await story.advance('30d');
  const [first] = await followups();
  // Another id, so that only the timer's generation tells that it is of yesterday.
  const again = { ...first!, attributes: { ...first!.attributes, 'ce-id': 'another' } };
  await story.advance('1d');
  await story.story.publish('workflow.followup', again);
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
  expect(await story.pendingTimers()).toEqual([{ name: 'response L01', due: '2026-03-02T00:00:00.000Z' }]);
});

test('an answer that comes while the reminder goes out counts, and takes the next reminder with it', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  await story.fault({ target: 'counterparties', mode: 'hang', times: 1 });
  await story.advance('30d');
  await story.answer('L01', 'accepted');
  expect(await story.status()).toBe('closed');
  await story.advance('365d');
  expect(await story.pendingTimers()).toEqual([]);
  expect(await story.handedInAt(cafe)).toEqual(['L01', 'L01 reminder 1']);
});
