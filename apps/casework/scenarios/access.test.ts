import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const close = { decision: 'close', reason: 'enough' };

test('a client may cancel a case and not decide one; an operator may; of another tenant, neither sees it', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'reject' });
  await story.advance('1s');
  const client = await story.token({ role: 'client' });
  const stranger = await story.token({ role: 'operator', tenant: 'elsewhere' });
  const operator = await story.token({ role: 'operator' });
  expect((await story.ask('decision', close, client)).status).toBe(403);
  expect((await story.ask('decision', close, stranger)).status).toBe(404);
  expect((await story.ask('cancel', { reason: 'not mine' }, stranger)).status).toBe(404);
  expect(await story.status()).toBe('escalated');
  expect((await story.ask('decision', close, operator)).status).toBe(201);
  expect(await story.status()).toBe('closed');
});

test('a token is good until it expires', async () => {
  await using story = await CaseStory.begin();
  await story.open({ [cafe]: 'silent' });
  const client = await story.token({ role: 'client', expires: '30d' });
  await story.advance('30d');
  expect((await story.ask('cancel', { reason: 'too late' }, client)).status).toBe(401);
  expect(await story.status()).toBe('tracking');
});
