import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test, vi } from 'vitest';
import { renderLetter } from './letter.ts';

vi.mock('node:fs', { spy: true });

function fontsRead(): string[] {
  const paths = vi.mocked(readFileSync).mock.calls.map(([path]) => basename(String(path)));
  return paths.filter((name) => /\.(ttf|woff)$/.test(name));
}

test('only the fonts that a letter needs are read, each once', async () => {
  const letter = {
    ...{
      reference: 'WF-20250129-7K3QXM/letter-1',
      workflowId: 'WF-20250129-7K3QXM',
      accountId: 'DE00',
      currency: 'EUR',
    },
    ...{ date: '2025-01-29', deadline: '2025-02-28', client: { name: 'Ada' }, charges: [], totalMinor: 0 },
  };
  await renderLetter({ ...letter, merchant: 'Müller & Żabka' });
  await renderLetter({ ...letter, merchant: 'Καφενείο' });
  const latin = ['NotoSans_400Regular.ttf', 'NotoSans_700Bold.ttf'];
  expect(fontsRead().toSorted()).toEqual(latin);
  await renderLetter({ ...letter, merchant: '星巴克' });
  expect(fontsRead()).toContain('DroidSansFallback.ttf');
  expect(fontsRead()).not.toContain('unifontex-latin-400-normal.woff');
});
