import PDFDocument from 'pdfkit';
import { expect, test } from 'vitest';
import { fontFor } from './fonts.ts';
import { type Line, Typesetter } from './typesetter.ts';

const typesetter = new Typesetter(new PDFDocument({ font: '' }));
const style = { size: 12 } as const;

function drawn(lines: readonly Line[]): string[] {
  return lines.map((line) => line.runs.map((run) => run.drawn).join(''));
}

test('each character gets the first font that has it', () => {
  expect(fontFor('Ł', 'regular')).toBe('sans');
  expect(fontFor('Ж', 'bold')).toBe('sans-bold');
  expect(fontFor('ق', 'regular')).toBe('arabic');
  expect(fontFor('ש', 'regular')).toBe('hebrew');
  expect(fontFor('ไ', 'regular')).toBe('thai');
  expect(['星', 'ス', '한'].map((character) => fontFor(character, 'bold'))).toEqual(['cjk', 'cjk', 'cjk']);
  expect(['🍕', '☕', 'ქ', 'አ', '㐀'].every((character) => fontFor(character, 'regular') === 'unifont')).toBe(true);
  expect(fontFor('𠮷', 'regular')).toBeUndefined();
});

test('text is broken between words, and no line is wider than asked for', () => {
  const lines = typesetter.wrap('The quick brown fox jumps over the lazy dog', style, 90);
  expect(drawn(lines)).toEqual(['The quick', 'brown fox', 'jumps over the', 'lazy dog']);
  expect(lines.every((line) => line.width <= 90)).toBe(true);
});

test('a word wider than a line is broken inside, and Chinese between any two characters', () => {
  for (const text of ['A'.repeat(200), '北京市朝阳区'.repeat(20)]) {
    const lines = typesetter.wrap(text, style, 100);
    expect(lines.length).toBeGreaterThan(5);
    expect(drawn(lines).join('')).toBe(text);
    expect(lines.every((line) => line.width <= 100)).toBe(true);
  }
});

test('a lone character wider than the line still stands, and an empty text is one empty line', () => {
  expect(drawn(typesetter.wrap('WW', style, 1))).toEqual(['W', 'W']);
  expect(typesetter.wrap('', style, 100)).toEqual([{ runs: [], width: 0 }]);
});

test('control characters and line ends are drawn as spaces, lone surrogates as the replacement character', () => {
  expect(drawn(typesetter.wrap('a\r\n\tb\u0000c\ud800', style, 500))).toEqual(['a b c�']);
});

test('right-to-left words stand in the order they are read, left-to-right words among them in theirs', () => {
  const [line] = typesetter.wrap('קפה (תל) 12 Café', style, 500);
  const seen = line!.runs.map((run) => run.actual ?? run.drawn);
  expect(seen).toEqual(['12', ' ', ')', 'תל', '(', ' ', 'קפה', ' Café']);
  expect(line!.runs.map((run) => run.drawn)[2]).toBe('(');
});

test('what the glyphs cannot tell is told beside them', () => {
  const [line] = typesetter.wrap('𠮷 จำกา 👨‍👩‍👧', style, 500);
  expect(line!.runs.filter((run) => run.actual).map(({ drawn, actual }) => [drawn, actual])).toEqual([
    ['[U+20BB7]', '𠮷'],
    ['จำกา', 'จำกา'],
    ['👨‍👩‍👧', '👨‍👩‍👧'],
  ]);
});
