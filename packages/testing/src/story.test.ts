import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Story } from './story.ts';

const systemFile = join(import.meta.dirname, '../tea/system.ts');
const begin = (seed = 1) => Story.start({ systemFile, seed });
const day = 86_400_000;

test('each moment at which something is due is visited in turn, with all that follows from it, before the next', async () => {
  await using story = await begin();
  const { teaId } = await story.post<{ teaId: string }>('/api/teas', { steepFor: '30d' });
  const tea = () => story.get<{ sips: number[] }>(`/api/workflows/${teaId}`);
  expect((await story.trace(teaId)).pendingTimers).toEqual([{ name: 'steeped', dueAt: story.now + 30 * day }]);

  const begunAt = story.now;
  await story.advance('29d');
  expect((await tea()).sips).toEqual([]);
  await story.advance('100d');
  // Each sip sets the timer of the next, a day later, three times.
  expect((await tea()).sips.map((at) => (at - begunAt) / day)).toEqual([30, 31, 32]);
  expect(story.now - begunAt).toBe(129 * day);
});

test('the outside is the sandbox, on the same clock: what it leaves without an answer times out in virtual time', async () => {
  await using story = await begin();
  const { teaId } = await story.post<{ teaId: string }>('/api/teas', { steepFor: '1s', guest: 'hangs' });
  await story.advance('1s');
  const [sip] = (await story.trace(teaId)).rows.filter(({ topic }) => topic === 'tea.steeped');
  expect(sip).toMatchObject({ status: 'scheduled' });
  await story.advance('30s');
  const [tried] = (await story.trace(teaId)).rows.filter(({ topic }) => topic === 'tea.steeped');
  expect(tried).toMatchObject({ status: 'retrying', errors: [expect.stringContaining('the guest did not answer')] });
});

test('the same seed gives the same ids, another one others', async () => {
  const ids: string[] = [];
  for (const seed of [1, 1, 2]) {
    await using story = await begin(seed);
    ids.push((await story.post<{ teaId: string }>('/api/teas', { steepFor: '1d' })).teaId);
  }
  expect(ids[0]).toBe(ids[1]);
  expect(ids[2]).not.toBe(ids[0]);
});

test('a story that is over leaves nothing behind: no port, no folder, no setting', async () => {
  let url: string;
  let folder: string;
  {
    await using story = await Story.start({ systemFile, environment: { TEA_SETTING: 'strong' } });
    ({ url } = story);
    folder = process.env.TEA_FOLDER!;
    expect(process.env.TEA_SETTING).toBe('strong');
    expect(existsSync(folder)).toBe(true);
    await story.post('/api/teas', { steepFor: '1s', guest: 'hangs' });
    await story.advance('1s');
  }
  expect(process.env.TEA_SETTING).toBeUndefined();
  expect(existsSync(folder)).toBe(false);
  await expect(fetch(url)).rejects.toThrow();
});

test('a bad command is refused with its problem, and a story says so', async () => {
  await using story = await begin();
  await expect(story.post('/api/teas', { steepFor: 'long' })).rejects.toThrow(
    /^POST \/api\/teas answered 400: .*steepFor/,
  );
});
