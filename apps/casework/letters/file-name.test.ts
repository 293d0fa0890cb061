import fc from 'fast-check';
import { expect, test } from 'vitest';
import { letterFileName } from './file-name.ts';

test('a letter’s file name tells which letter it is', () => {
  expect(letterFileName('WF-20250129-7K3QXM/L01')).toBe('letter-wf-20250129-7k3qxm-l01.pdf');
});

test('whatever the reference is, the file name is safe and short', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (reference) => {
      const name = letterFileName(reference);
      expect(name).toMatch(/^letter-[a-z0-9-]*\.pdf$/);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(80);
    }),
  );
});
