import { expect, test } from 'vitest';
import { CaseStory } from './case-story.ts';

const cafe = 'Corner Café';
const day = 86_400_000;
const retention = { inboxMs: day, logMs: 3_600_000, journalMs: day, filesMs: 60 * day };

test('a closed case outlives what is removed of it: its journey and its data stay, its files go when their time is over', async () => {
  await using story = await CaseStory.begin({ retention });
  await story.open({ [cafe]: 'accept' });
  await story.advance('1h');
  const closed = await story.case();
  expect(closed.status).toBe('closed');
  const journey = await story.trace();
  const letter = await story.letter(cafe);
  const fetchLetter = () =>
    story.story.fetch(`/api/workflows/${story.id}/files/${encodeURIComponent(letter.file!.name)}`);

  await story.advance('50d');
  expect((await fetchLetter()).status).toBe(200);
  await story.advance('15d');
  // The folder goes in real time.
  await expect.poll(async () => (await fetchLetter()).status).toBe(410);
  expect(await (await fetchLetter()).json()).toMatchObject({
    detail: expect.stringMatching(/were removed at 2026-03-0/),
  });

  expect(await story.case()).toEqual(closed);
  expect(await story.trace()).toEqual(journey);
  expect((await story.story.trace(story.id)).removed).toEqual({ filesAt: expect.any(Number) });
  const pruned = story.story.log.filter(({ moment }) => moment === 'retention.pruned').map(({ facts }) => facts);
  expect(pruned.reduce((sum, { messages }) => sum + Number(messages), 0)).toBeGreaterThan(10);
  expect(story.story.log.filter(({ moment }) => moment === 'retention.failed')).toEqual([]);
});

test('a case that waits for months is reminded of and handed to a person all the same', async () => {
  const tell = async (options: { retention?: typeof retention }) => {
    await using story = await CaseStory.begin(options);
    await story.open({ [cafe]: 'silent' });
    await story.advance('100d');
    return { status: await story.status(), mails: await story.mails(), handedIn: await story.handedInAt(cafe) };
  };
  const pruned = await tell({ retention });
  expect(pruned).toEqual(await tell({}));
  expect(pruned).toMatchObject({ status: 'escalated', handedIn: ['L01', 'L01 reminder 1', 'L01 reminder 2'] });
});
