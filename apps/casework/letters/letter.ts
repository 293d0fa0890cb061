import type { Finding } from '../statement/findings.ts';
import { formatMinor } from '../statement/money.ts';
import { drawCharges } from './charges-table.ts';
import { ink, margin, Sheet, textWidth } from './sheet.ts';
import { defaultWording, longDate } from './wording.ts';

export interface LetterInput {
  /** What the counterparty is to quote: workflow id and letter id. */
  readonly reference: string;
  readonly workflowId: string;
  /** Of the letter, `YYYY-MM-DD`. */
  readonly date: string;
  /** By when an answer is asked for, `YYYY-MM-DD`. */
  readonly deadline: string;
  readonly client: { readonly name: string };
  readonly accountId: string;
  /** The counterparty. Any text: a font is found for every character. */
  readonly merchant: string;
  readonly currency: string;
  readonly charges: readonly Finding[];
  readonly totalMinor: number;
  /** The words before the table; by default those of `wording.ts`. */
  readonly paragraphs?: readonly string[];
}

let mostRemembered = 0;
const remembered = new Map<string, Uint8Array>();

/** From now on letters are printed once for the same input, as long as so many more were not printed since. Default 0. */
export function rememberLetters(most: number): void {
  mostRemembered = most;
}

/**
 * The letter to one counterparty as a PDF of as many A4 pages as it takes.
 * The same bytes for the same input, so that storing it twice stores it once.
 */
export async function renderLetter(letter: LetterInput): Promise<Uint8Array> {
  const key = mostRemembered === 0 ? '' : JSON.stringify(letter);
  const known = remembered.get(key);
  if (known) return known;
  const printed = await print(letter);
  if (key !== '') remembered.set(key, printed);
  if (remembered.size > mostRemembered) remembered.delete(remembered.keys().next().value ?? '');
  return printed;
}

/**
 * Loads pdfkit and the fonts that the
 * letter's characters need on first use: the first letter takes 0.2 to 0.4 s, one more in Latin script 25 ms.
 */
async function print(letter: LetterInput): Promise<Uint8Array> {
  // Loaded here, so that a service that imports this file wakes without them.
  const [{ default: PDFDocument }, { forgetGlyphs }, { Typesetter }] = await Promise.all([
    import('pdfkit'),
    import('./fonts.ts'),
    import('./typesetter.ts'),
  ]);
  forgetGlyphs();
  const document = new PDFDocument({
    size: 'A4',
    margin: 0,
    bufferPages: true,
    pdfVersion: '1.7',
    lang: 'en',
    displayTitle: true,
    // None, or pdfkit reads Helvetica's metrics from its own folder, which a bundle does not have.
    font: '',
    // pdfkit derives the file's ID from these alone.
    info: {
      Title: `Dispute ${letter.reference}: ${letter.merchant}`,
      Author: `Casework for ${letter.client.name}`,
      Creator: 'Casework',
      Producer: 'pdfkit',
      CreationDate: new Date(`${letter.date}T00:00:00Z`),
    },
  });
  const finished = bytesOf(document);
  const sheet = new Sheet(document, new Typesetter(document));
  const wording = defaultWording(letter);

  drawHead(sheet, letter);
  sheet.paragraph(wording.salutation, body, { after: gap });
  for (const paragraph of letter.paragraphs ?? wording.paragraphs) sheet.paragraph(paragraph, body, { after: gap });
  sheet.y += gap;
  drawCharges(sheet, letter.charges, formatMinor(letter.totalMinor, letter.currency));
  sheet.y += 2 * gap;
  for (const [index, paragraph] of wording.closing.entries()) {
    // The signature takes the last paragraph along to a new page.
    if (index === wording.closing.length - 1) sheet.need(signatureHeight + 2 * lineHeight);
    sheet.paragraph(paragraph, body, { after: gap });
  }
  drawSignature(sheet, letter);
  sheet.feet(`Reference ${letter.reference}`);
  document.end();
  return finished;
}

const right = margin.left + textWidth;
const gap = 8;
const lineHeight = 16;
const signatureHeight = 3 * lineHeight + 3 * gap;
const body = { size: 10.5, color: ink.text } as const;

/** Who writes to whom, about what: the addressee on the left, what identifies the case on the right. */
function drawHead(sheet: Sheet, letter: LetterInput): void {
  const wordmark = { size: 15, weight: 'bold', color: ink.accent } as const;
  sheet.paragraph('Casework', wordmark, { after: 4 });
  sheet.lineTo(longDate(letter.date), body, right, sheet.y - 24);
  sheet.rule(ink.accent, 1.2);
  sheet.y += 24;

  const top = sheet.y;
  const boxLeft = right - 232;
  drawFacts(sheet, boxLeft, [
    ['Reference', letter.reference],
    ['Case', letter.workflowId],
    ['Our client', letter.client.name],
    ['Account', letter.accountId],
    ['Answer by', longDate(letter.deadline)],
  ]);
  const underFacts = sheet.y;
  sheet.y = top;
  const width = boxLeft - margin.left - 24;
  sheet.paragraph('To', { size: 8.5, color: ink.muted }, { width, after: 2 });
  sheet.paragraph(letter.merchant, { size: 12, weight: 'bold', color: ink.text }, { width });
  sheet.y = Math.max(sheet.y, underFacts) + 26;

  const subject = { size: 14, weight: 'bold', color: ink.text } as const;
  sheet.paragraph(`Dispute of charges: ${formatMinor(letter.totalMinor, letter.currency)}`, subject, { after: 12 });
}

/** Names and values in two columns, from `x` to the right margin, with a bar on their left. */
function drawFacts(sheet: Sheet, x: number, facts: readonly (readonly [string, string])[]): void {
  const top = sheet.y;
  const valueLeft = x + 76;
  for (const [name, value] of facts) {
    const [line] = sheet.typesetter.wrap(name, { size: 9, color: ink.muted }, valueLeft - x);
    sheet.line(line!, { size: 9, color: ink.muted }, x + 12, sheet.y);
    sheet.paragraph(value, { size: 9, color: ink.text }, { x: valueLeft, width: right - valueLeft, after: 2 });
  }
  sheet.band(x, top, 2, sheet.y - top, ink.accent);
}

function drawSignature(sheet: Sheet, letter: LetterInput): void {
  sheet.y += gap;
  sheet.paragraph('Yours faithfully,', body, { after: gap });
  sheet.paragraph('Casework', { ...body, weight: 'bold' });
  sheet.paragraph(`on behalf of ${letter.client.name}`, body);
}

function bytesOf(document: PDFKit.PDFDocument): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const chunks: Uint8Array[] = [];
  document.on('data', (chunk: Uint8Array) => chunks.push(chunk));
  document.on('end', () => resolve(Buffer.concat(chunks)));
  document.on('error', reject);
  return promise;
}
