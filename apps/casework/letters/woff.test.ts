import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { create, type Font } from 'fontkit';
import { expect, test } from 'vitest';
import { unwrapWoff } from './woff.ts';

const woff = readFileSync(
  fileURLToPath(import.meta.resolve('@fontsource/noto-sans-thai/files/noto-sans-thai-thai-400-normal.woff')),
);

test('an unwrapped font has the glyphs of the wrapped one', () => {
  const wrapped = create(woff) as Font;
  const unwrapped = create(unwrapWoff(woff)) as Font;
  expect(unwrapped.type).toBe('TTF');
  expect(unwrapped.numGlyphs).toBe(wrapped.numGlyphs);
  expect(unwrapped.characterSet).toEqual(wrapped.characterSet);
  expect(unwrapped.layout('กาแฟ').advanceWidth).toBe(wrapped.layout('กาแฟ').advanceWidth);
});

test('what is not WOFF is refused', () => {
  expect(() => unwrapWoff(Buffer.from('no font'))).toThrow('font: expected a WOFF 1.0 file, got 7 bytes that are none');
  expect(() => unwrapWoff(unwrapWoff(woff))).toThrow(RangeError);
});
