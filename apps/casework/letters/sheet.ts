import type { Line, Style, Typesetter } from './typesetter.ts';

/** A4, in points. */
const page = { width: 595.28, height: 841.89 } as const;
export const margin = { left: 62, right: 62, top: 56, bottom: 80 } as const;
export const textWidth = page.width - margin.left - margin.right;

export const ink = {
  text: '#1f2933',
  muted: '#66727f',
  accent: '#1c4f5e',
  hairline: '#d3d9df',
  tint: '#f2f5f7',
} as const;

/**
 * The letter's pages, filled from top to bottom: text and rules go where the cursor is, and what does not fit opens the
 * next page. A page's foot is drawn at the end, when the number of pages is known (pdfkit must buffer them).
 */
export class Sheet {
  readonly document: PDFKit.PDFDocument;
  readonly typesetter: Typesetter;
  /** Distance of the next free point from the page's upper edge. */
  y: number = margin.top;

  constructor(document: PDFKit.PDFDocument, typesetter: Typesetter) {
    this.document = document;
    this.typesetter = typesetter;
  }

  /** Text over the whole width, or the part of it given. Lines of one paragraph may stand on two pages. */
  paragraph(text: string, style: Style, place: { x?: number; width?: number; after?: number } = {}): void {
    const { x = margin.left, width = textWidth, after = 0 } = place;
    for (const line of this.typesetter.wrap(text, style, width)) {
      this.need(lineHeight(style));
      this.line(line, style, x, this.y);
      this.y += lineHeight(style);
    }
    this.y += after;
  }

  /** One line with its upper edge at `y`; wherever the cursor is. */
  line(line: Line, style: Style, x: number, y: number): void {
    // The baseline leaves room for the accents of Latin and the height of Han above it, and for descenders below.
    this.typesetter.draw(line, style, x, y + lineHeight(style) * 0.5 + style.size * 0.36);
  }

  /** A single line that ends at `right`. */
  lineTo(text: string, style: Style, right: number, y: number): void {
    const [line] = this.typesetter.wrap(text, style, Number.POSITIVE_INFINITY);
    this.line(line!, style, right - line!.width, y);
  }

  rule(color: string = ink.hairline, thickness = 0.6): void {
    this.document
      .moveTo(margin.left, this.y)
      .lineTo(margin.left + textWidth, this.y)
      .lineWidth(thickness)
      .strokeColor(color)
      .stroke();
  }

  band(x: number, y: number, width: number, height: number, color: string): void {
    this.document.rect(x, y, width, height).fillColor(color).fill();
  }

  /** Opens the next page unless so many points are left on this one. Tells whether it did. */
  need(height: number): boolean {
    if (this.y + height <= page.height - margin.bottom) return false;
    this.document.addPage();
    this.y = margin.top;
    return true;
  }

  /** The foot of every page: the text on the left, the page's number on the right. */
  feet(text: string): void {
    const style: Style = { size: 8, color: ink.muted };
    const { count } = this.document.bufferedPageRange();
    for (let index = 0; index < count; index++) {
      this.document.switchToPage(index);
      this.y = page.height - margin.bottom + 30;
      this.rule();
      const number = `Page ${index + 1} of ${count}`;
      this.lineTo(number, style, margin.left + textWidth, this.y + 6);
      const [line] = this.typesetter.wrap(text, style, textWidth - 80);
      this.line(line!, style, margin.left, this.y + 6);
    }
  }
}

export function lineHeight(style: Style): number {
  return style.size * 1.45;
}
