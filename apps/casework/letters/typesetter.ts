import createBidi from 'bidi-js/dist/bidi.mjs';
import type { Glyph } from 'fontkit';
import LineBreaker from 'linebreak';
import { type FontName, fontFor, openFont } from './fonts.ts';

export interface Style {
  /** In points. */
  readonly size: number;
  readonly weight?: 'regular' | 'bold';
  readonly color?: string;
}

/** One line ready to be drawn: its runs in the order they are seen, from left to right. */
export interface Line {
  readonly runs: readonly Run[];
  /** In points. */
  readonly width: number;
}

/** Text in one font and one direction. */
interface Run {
  readonly font: FontName;
  /** What the font is given. */
  readonly drawn: string;
  /** What the text says, where a reader could not tell it from the glyphs. */
  readonly actual?: string;
  readonly width: number;
}

/** What people take for one character, and how it is drawn. */
interface Cluster {
  readonly text: string;
  readonly drawn: string;
  readonly font: FontName;
  /** Of the bidirectional algorithm. Odd levels run from right to left. */
  readonly level: number;
  /** A line may end behind it. */
  readonly breakable: boolean;
}

type Weight = NonNullable<Style['weight']>;

const bidi = createBidi();
const printableAscii = /^[\x20-\x7e]*$/;
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * Sets text of any script: a font for each character by coverage, lines by the Unicode line breaking rules, right-to-left
 * runs in their place. Text is drawn in Unicode's composed form (NFC), line ends and control characters as spaces.
 * A character no font has is drawn as its code point, `[U+20BB7]`. Whatever is drawn, who searches or copies the text
 * finds what was written.
 */
export class Typesetter {
  readonly #document: PDFKit.PDFDocument;

  constructor(document: PDFKit.PDFDocument) {
    this.#document = document;
  }

  /** The text in lines no wider than `width` points. A word wider than a line is broken between any two characters. */
  wrap(text: string, style: Style, width: number): Line[] {
    const lines: Line[] = [];
    let line: Cluster[] = [];
    let lineWidth = 0;
    const endLine = (): void => {
      lines.push(this.#line(line, style));
      line = [];
      lineWidth = 0;
    };
    for (const word of words(clustersOf(text, style.weight ?? 'regular'))) {
      const fits = this.#width(withoutEndSpace(word), style) <= width;
      for (const piece of fits ? [word] : word.map((cluster) => [cluster])) {
        if (line.length > 0 && lineWidth + this.#width(withoutEndSpace(piece), style) > width) endLine();
        line.push(...piece);
        lineWidth += this.#width(piece, style);
      }
    }
    endLine();
    return lines;
  }

  /** Draws a line with its left edge at `x` and its baseline at `y`, both in points from the page's upper left corner. */
  draw(line: Line, style: Style, x: number, y: number): void {
    let left = x;
    this.#document.fontSize(style.size).fillColor(style.color ?? 'black');
    for (const run of line.runs) {
      this.#select(run.font);
      if (run.actual === undefined) this.#text(run.drawn, left, y);
      else this.#textTelling(run.actual, run.drawn, left, y, style.size);
      left += run.width;
    }
  }

  #text(drawn: string, x: number, y: number): void {
    this.#document.text(drawn, x, y, { lineBreak: false, baseline: 'alphabetic' });
  }

  /**
   * Glyphs with the text they stand for. Poppler places that text by the graphics state in force where the span ends,
   * and pdfkit's points down and has no font: without a state of its own around the span the text would be found on a
   * line of its own. pdfkit has no public name for the font in use.
   */
  #textTelling(actual: string, drawn: string, x: number, y: number, size: number): void {
    const document = this.#document as PDFKit.PDFDocument & { readonly _font: { readonly id: string } };
    const { height } = document.page;
    document.save().transform(1, 0, 0, -1, 0, height).addContent(`/${document._font.id} ${size} Tf`);
    document.markContent('Span', { actual }).save().transform(1, 0, 0, -1, 0, height);
    this.#text(drawn, x, y);
    document.restore().endMarkedContent().restore();
  }

  #line(clusters: readonly Cluster[], style: Style): Line {
    const runs = inOrderSeen(runsOf(withoutEndSpace(clusters))).map((run) => this.#shape(run, style));
    return { runs, width: runs.reduce((sum, run) => sum + run.width, 0) };
  }

  #width(clusters: readonly Cluster[], style: Style): number {
    return runsOf(clusters).reduce((sum, run) => sum + this.#shape(run, style).width, 0);
  }

  #shape(clusters: readonly Cluster[], style: Style): Run {
    const { font, level } = clusters[0]!;
    const text = clusters.map((cluster) => cluster.text).join('');
    const { drawn, tells } = glyphOrder(clusters, font, level);
    this.#select(font);
    const width = this.#document.fontSize(style.size).widthOfString(drawn);
    return { font, drawn, width, ...(tells ? {} : { actual: text }) };
  }

  #select(name: FontName): void {
    // pdfkit takes a font that fontkit has opened, so coverage, widths and glyphs come from one parse of the file.
    this.#document.font(openFont(name) as unknown as PDFKit.Mixins.PDFFontSource, name);
  }
}

function clustersOf(text: string, weight: Weight): Cluster[] {
  const clean = text
    .toWellFormed()
    .normalize('NFC')
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
  const { levels } = bidi.getEmbeddingLevels(clean, 'ltr');
  const ends = lineEnds(clean);
  return [...graphemes.segment(clean)].flatMap(({ segment, index }) => {
    const level = levels[index]!;
    // A grapheme that no font has whole is drawn by its characters.
    const texts = fontFor(segment, weight) === undefined ? [...segment] : [segment];
    return texts.map((text, at) => ({
      text,
      ...glyphsFor(text, weight, level),
      level,
      breakable: at === texts.length - 1 && ends.has(index + segment.length),
    }));
  });
}

function glyphsFor(text: string, weight: Weight, level: number): Pick<Cluster, 'drawn' | 'font'> {
  const font = fontFor(text, weight);
  if (font === undefined) {
    const codePoint = text.codePointAt(0)!.toString(16).toUpperCase();
    return { drawn: `[U+${codePoint}]`, font: weight === 'bold' ? 'sans-bold' : 'sans' };
  }
  // Brackets and the like look the other way between right-to-left words.
  const mirrored = level % 2 === 1 ? bidi.getMirroredCharacter(text) : null;
  return { drawn: mirrored ?? text, font };
}

/** Where a line may end, as offsets into the text. */
function lineEnds(text: string): Set<number> {
  const breaker = new LineBreaker(text);
  const ends = new Set<number>();
  for (let next = breaker.nextBreak(); next; next = breaker.nextBreak()) ends.add(next.position);
  return ends;
}

function* words(clusters: readonly Cluster[]): Generator<Cluster[]> {
  let word: Cluster[] = [];
  for (const cluster of clusters) {
    word.push(cluster);
    if (!cluster.breakable) continue;
    yield word;
    word = [];
  }
  if (word.length > 0) yield word;
}

function withoutEndSpace(clusters: readonly Cluster[]): readonly Cluster[] {
  return clusters.slice(0, clusters.findLastIndex((cluster) => cluster.text.trim() !== '') + 1);
}

/** Neighbours that share font and level. What is not drawn as it is written stands alone. */
function runsOf(clusters: readonly Cluster[]): Cluster[][] {
  const runs: Cluster[][] = [];
  for (const cluster of clusters) {
    const last = runs.at(-1)?.at(-1);
    const joins = last?.font === cluster.font && last.level === cluster.level && [last, cluster].every(drawnAsWritten);
    if (joins) runs.at(-1)!.push(cluster);
    else runs.push([cluster]);
  }
  return runs;
}

function drawnAsWritten(cluster: Cluster): boolean {
  return cluster.drawn === cluster.text;
}

/** Rule L2 of the Unicode bidirectional algorithm (UAX 9): from the highest level down, turn what is at it or above. */
function inOrderSeen(runs: readonly Cluster[][]): Cluster[][] {
  const order = [...runs];
  const levelAt = (index: number): number => order[index]?.[0]?.level ?? -1;
  for (let level = Math.max(0, ...runs.map((run) => run[0]!.level)); level > 0; level--) {
    for (let start = 0; start < order.length; start++) {
      let end = start;
      while (levelAt(end) >= level) end++;
      if (end > start) order.splice(start, end - start, ...order.slice(start, end).reverse());
      start = end;
    }
  }
  return order;
}

/**
 * What the run's font is to be given, and whether its glyphs tell the text.
 * fontkit lays out some scripts from right to left, by script and font and not by level: where the two disagree (quotes
 * between Hebrew words, Persian digits, Syriac in UnifontEX) the text is turned before. And some scripts are split or
 * reordered for drawing (Thai vowels, Indic syllables, joined emoji): their glyphs do not tell. Poppler reads what runs
 * from right to left by its glyphs, and would turn a text laid over them once more.
 */
function glyphOrder(run: readonly Cluster[], font: FontName, level: number): { drawn: string; tells: boolean } {
  const drawn = run.map((cluster) => cluster.drawn);
  const text = drawn.join('');
  // Nearly all text; laying it out twice made a letter take twice as long.
  if (level === 0 && printableAscii.test(text)) return { drawn: text, tells: run.every(drawnAsWritten) };
  const { glyphs, direction } = openFont(font).layout(text);
  const spelled = spell(glyphs) === text;
  const backwards = spell(glyphs.toReversed()) === text || (!spelled && direction === 'rtl');
  const rightToLeft = level % 2 === 1;
  return {
    drawn: backwards === rightToLeft ? text : drawn.toReversed().join(''),
    tells: run.every(drawnAsWritten) && (rightToLeft || spelled),
  };
}

function spell(glyphs: readonly Glyph[]): string {
  return String.fromCodePoint(...glyphs.flatMap((glyph) => glyph.codePoints));
}
