import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Finding, rules } from '../statement/findings.ts';
import { type LetterInput, renderLetter } from './letter.ts';

const folder = mkdtempSync(join(tmpdir(), 'letters-'));
afterAll(() => rmSync(folder, { recursive: true }));

const hasPoppler = spawnSync('pdftotext', ['-v']).error === undefined;
const required = process.env.DORMOUSE_REQUIRE?.includes('pdftotext') ?? false;
const withPoppler = describe.skipIf(!hasPoppler && !required);
const suite = hasPoppler
  ? 'as pdftotext reads it'
  : 'as pdftotext reads it (skipped: no pdftotext, install poppler-utils)';

function charges(count: number, merchant: string, currency = 'EUR'): Finding[] {
  return Array.from({ length: count }, (_, index) => {
    const rule = rules[index % rules.length]!;
    const isLine = rule !== 'missing_refund' && rule !== 'arithmetic_error';
    const date = `2025-01-${String(1 + (index % 28)).padStart(2, '0')}`;
    return { rule, amountMinor: 1299 + index, currency, date, merchant, lineIds: isLine ? [`L-${index + 1}`] : [] };
  });
}

function letter(merchant: string, count = 3, currency = 'EUR'): LetterInput {
  const disputed = charges(count, merchant, currency);
  return {
    reference: 'WF-20250129-7K3QXM/letter-1',
    workflowId: 'WF-20250129-7K3QXM',
    date: '2025-01-29',
    deadline: '2025-02-28',
    client: { name: 'Ada Lovelace' },
    accountId: 'DE89370400440532013000',
    merchant,
    currency,
    charges: disputed,
    totalMinor: disputed.reduce((sum, charge) => sum + charge.amountMinor, 0),
  };
}

function poppler(tool: 'pdftotext' | 'pdffonts' | 'pdfinfo', pdf: Uint8Array, ...options: string[]): string {
  const path = join(folder, 'letter.pdf');
  writeFileSync(path, pdf);
  return execFileSync(tool, [...options, path, ...(tool === 'pdftotext' ? ['-'] : [])], { encoding: 'utf8' });
}

/** Without white space and without the direction marks that pdftotext puts around right-to-left text. */
function bare(text: string): string {
  return text.replace(/[\s\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '');
}

test('the same letter has the same bytes, whatever was written before it', async () => {
  const merchants = ['กา จำกัด', 'مقهى', '星巴克 Café', 'भारतीय', '🍕'];
  const first = await renderLetter(letter('กา'));
  for (const merchant of merchants)
    expect(await renderLetter(letter(merchant))).toEqual(await renderLetter(letter(merchant)));
  expect(await renderLetter(letter('กา'))).toEqual(first);
  expect(await renderLetter({ ...letter('กา'), date: '2025-01-30' })).not.toEqual(first);
});

test('a letter is small: only the glyphs in use are embedded', async () => {
  expect((await renderLetter(letter('星巴克 🍕'))).length).toBeLessThan(30_000);
});

withPoppler(suite, () => {
  test.each([
    ['Latin', 'StreamTV Ltd.'],
    ['German', 'Müller & Söhne Großhandel GmbH'],
    ['Polish', 'Żabka Łódź Święty Krzyż'],
    ['Vietnamese', 'Phở Hà Nội Đường'],
    ['Greek', 'Καφενείο Αθηνών'],
    ['Cyrillic', 'ООО «Магнит» Їжак'],
    ['Chinese', '星巴克咖啡（上海）有限公司'],
    ['traditional Chinese', '統一超商股份有限公司'],
    ['Japanese', '株式会社スーパーマーケット ひかり'],
    ['Korean', '한국전력공사 서울지점'],
    ['a rare Han character', '𠮷野家'],
    ['Arabic', 'مقهى القاهرة الكبير'],
    ['Hebrew', 'בית קפה "שלום" תל אביב'],
    ['Thai', 'ร้านกาแฟไทย จำกัด'],
    ['Hindi', 'भारतीय रेल'],
    ['Georgian and Amharic', 'ქართული አማርኛ'],
    ['emoji', 'Pizza 🍕 & 🎉 Party 👨‍👩‍👧 ☕️'],
    ['quotes and commas', `O'Neill "The Best", Sons; Co. <b>&amp;</b> \\ (x)`],
    ['a long name', 'Very Long Merchant Name GmbH & Co. '.repeat(6).slice(0, 200)],
    ['a long word', 'Donaudampfschifffahrt'.repeat(10).slice(0, 200)],
    ['a long Chinese name', '北京市朝阳区国际商务中心有限公司'.repeat(13).slice(0, 200)],
  ])('the merchant is found: %s', async (_script, merchant) => {
    const pdf = await renderLetter(letter(merchant));
    expect(bare(poppler('pdftotext', pdf))).toContain(bare(merchant));
    expect(poppler('pdftotext', pdf)).toContain('WF-20250129-7K3QXM/letter-1');
  });

  test('a letter names client, account, deadline, each charge with its rule, and the sum', async () => {
    const text = poppler('pdftotext', await renderLetter(letter('StreamTV', 7)), '-layout');
    expect(text).toMatch(/Our client +Ada Lovelace/);
    expect(text).toMatch(/Account +DE89370400440532013000/);
    expect(text).toMatch(/Answer by +28 February 2025/);
    expect(text).toMatch(/2025-01-01 +L-1 +Charged after the contract was cancelled +EUR 12\.99/);
    expect(text).toMatch(/2025-01-06 +— +Promised refund that was not paid +EUR 13\.04/);
    expect(text).toMatch(/Total disputed +EUR 91\.14/);
    expect(text).toContain('on behalf of Ada Lovelace');
  });

  test('the words of an agent take the place of the default ones before the table', async () => {
    const text = poppler(
      'pdftotext',
      await renderLetter({ ...letter('StreamTV'), paragraphs: ['Kindly look at this.'] }),
    );
    expect(text).toContain('Kindly look at this.');
    expect(text).not.toContain('We act for');
    expect(text).toContain('Please refund EUR 39.00');
  });

  test('300 charges fill several pages, each with its head, its number and the reference', async () => {
    const pdf = await renderLetter(letter('StreamTV', 300));
    const pages = poppler('pdftotext', pdf, '-layout').split('\f').slice(0, -1);
    expect(pages.length).toBeGreaterThan(5);
    for (const [index, page] of pages.entries()) {
      expect(page).toContain('Reference WF-20250129-7K3QXM/letter-1');
      expect(page).toContain(`Page ${index + 1} of ${pages.length}`);
    }
    expect(pages.slice(0, -1).every((page) => /Date +Statement line +Reason +Amount/.test(page))).toBe(true);
    const found = pages.join('').match(/EUR \d+\.\d{2}$/gm) ?? [];
    expect(found).toHaveLength(300);
    expect(pages.at(-1)).toContain('Yours faithfully');
  });

  test('yen have no decimals', async () => {
    const text = poppler('pdftotext', await renderLetter(letter('株式会社ひかり', 1, 'JPY')), '-layout');
    expect(text).toMatch(/Total disputed +JPY 1,299\b/);
  });

  test('only the fonts a letter needs are in it, each of them embedded', async () => {
    const latin = poppler('pdffonts', await renderLetter(letter('StreamTV')));
    expect(latin.match(/NotoSans-\w+/g)).toEqual(['NotoSans-Bold', 'NotoSans-Regular']);
    const chinese = poppler('pdffonts', await renderLetter(letter('星巴克')));
    expect(chinese).toContain('DroidSansFallback');
    expect(
      chinese
        .split('\n')
        .slice(2, -1)
        .every((line) => /Identity-H +yes yes yes/.test(line)),
    ).toBe(true);
  });

  test('the title names reference and merchant', async () => {
    expect(poppler('pdfinfo', await renderLetter(letter('星巴克')))).toContain(
      'Dispute WF-20250129-7K3QXM/letter-1: 星巴克',
    );
  });
});
