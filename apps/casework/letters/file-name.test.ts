import fc from 'fast-check';
import { expect, test } from 'vitest';
import { letterFileName } from './file-name.ts';

const reference = 'WF-20250129-7K3QXM/letter-1';

test('a file name can be read where the merchant can be spelled', () => {
  expect(letterFileName('StreamTV', reference)).toMatch(
    /^letter-wf-20250129-7k3qxm-letter-1-streamtv-[0-9a-f]{12}\.pdf$/,
  );
  expect(letterFileName('Müller & Söhne', reference)).toContain('-muller-sohne-');
  expect(letterFileName('Żabka Łódź', reference)).toContain('-zabka-lodz-');
  expect(letterFileName('星巴克', reference)).toMatch(/^letter-wf-20250129-7k3qxm-letter-1-[0-9a-f]{12}\.pdf$/);
});

test('merchants that look alike in ASCII have different file names', () => {
  const merchants = [
    'Cafe',
    'Café',
    'CAFE',
    'cafe',
    ' Cafe',
    'Cafe.',
    '../Cafe',
    'Ca/fe',
    '星巴克',
    '麦当劳',
    '',
    '.',
    'A'.repeat(200),
    'A'.repeat(201),
  ];
  expect(new Set(merchants.map((merchant) => letterFileName(merchant, reference))).size).toBe(merchants.length);
});

test('whatever the merchant and the reference are called, the file name is safe and short', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.string({ unit: 'binary', maxLength: 80 }),
      (merchant, ref) => {
        const name = letterFileName(merchant, ref);
        expect(name).toMatch(/^letter(-[a-z0-9]+)*-[0-9a-f]{12}\.pdf$/);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(80);
      },
    ),
  );
});
