import type { Finding } from '../statement/findings.ts';
import { formatMinor } from '../statement/money.ts';
import { ink, lineHeight, margin, type Sheet, textWidth } from './sheet.ts';
import type { Style } from './typesetter.ts';
import { reason } from './wording.ts';

const columns = [
  { title: 'Date', x: margin.left + 8, width: 58 },
  { title: 'Statement line', x: margin.left + 78, width: 92 },
  { title: 'Reason', x: margin.left + 180, width: 200 },
] as const;
const amount = { title: 'Amount', right: margin.left + textWidth - 8 } as const;
const padding = 5;

const cell: Style = { size: 9.5, color: ink.text };
const figure: Style = { size: 9.5, color: ink.text };
const title: Style = { size: 8.5, weight: 'bold', color: ink.accent };
const sum: Style = { size: 10.5, weight: 'bold', color: ink.text };

/** The disputed charges, a row each, and their sum. The head is repeated on every page; a row stays on one. */
export function drawCharges(sheet: Sheet, charges: readonly Finding[], total: string): void {
  const rows = charges.map((charge) => rowOf(sheet, charge));
  sheet.need(headHeight + (rows[0]?.height ?? 0));
  drawHead(sheet);
  for (const [index, row] of rows.entries()) {
    const last = index === rows.length - 1;
    // The sum never stands on a page of its own.
    if (sheet.need(row.height + (last ? sumHeight : 0))) drawHead(sheet);
    row.draw(sheet.y);
    sheet.y += row.height;
    sheet.rule();
  }
  sheet.band(margin.left, sheet.y, textWidth, sumHeight, ink.tint);
  sheet.lineTo(`Total disputed   ${total}`, sum, amount.right, sheet.y + padding + 1);
  sheet.y += sumHeight;
}

const headHeight = lineHeight(title) + 2 * padding;
const sumHeight = lineHeight(sum) + 2 * padding + 2;

function drawHead(sheet: Sheet): void {
  for (const { title: text, x, width } of columns) {
    const [line] = sheet.typesetter.wrap(text, title, width);
    sheet.line(line!, title, x, sheet.y + padding);
  }
  sheet.lineTo(amount.title, title, amount.right, sheet.y + padding);
  sheet.y += headHeight;
  sheet.rule(ink.accent, 1);
}

function rowOf(sheet: Sheet, charge: Finding): { height: number; draw(y: number): void } {
  const texts = [charge.date, charge.lineIds.join(', ') || '—', reason(charge.rule)];
  const cells = texts.map((text, index) => sheet.typesetter.wrap(text, cell, columns[index]!.width));
  const height = Math.max(...cells.map((lines) => lines.length)) * lineHeight(cell) + 2 * padding;
  return {
    height,
    draw(y) {
      for (const [column, lines] of cells.entries()) {
        for (const [index, line] of lines.entries()) {
          sheet.line(line, cell, columns[column]!.x, y + padding + index * lineHeight(cell));
        }
      }
      sheet.lineTo(formatMinor(charge.amountMinor, charge.currency), figure, amount.right, y + padding);
    },
  };
}
