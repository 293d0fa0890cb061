import { isCalendarDate } from './calendar.ts';
import { shown } from './fields.ts';
import { Problems } from './problems.ts';
import { checkStatement, type Period, type StatementLine, type StatementResult } from './statement.ts';

const columns = [
  'id',
  'date',
  'merchant',
  'description',
  'amountMinor',
  'kind',
] as const satisfies (keyof StatementLine)[];

/**
 * A statement out of a CSV export: RFC 4180 with a header row that names the six columns of a line, in any order; other
 * columns are ignored. It has no terms and no balance, its period reaches from the first date to the last, and its
 * holder, whom nothing names, is the account id. Problems name the line of the text (`line 4.date`), the header is line 1.
 */
export function parseStatementCsv(
  text: string,
  { accountId, currency }: { accountId: string; currency: string },
): StatementResult {
  const problems = new Problems();
  const records = readRecords(text.replace(/^\uFEFF/, ''), problems);
  const header = records.next().value;
  const cellOf = readHeader(header, problems);
  if (!header || !cellOf) return { problems: problems.list() };

  const lines: Record<string, unknown>[] = [];
  const lineNumbers: number[] = [];
  for (const { lineNumber, cells } of records) {
    if (cells.length !== header.cells.length) {
      const counts = `must have a value for each of the ${header.cells.length} columns, got ${cells.length}`;
      problems.add(`line ${lineNumber}`, `${counts}: put values that hold a comma in quotes`);
      continue;
    }
    const line = Object.fromEntries(columns.map((column) => [column, cells[cellOf[column]]]));
    // Anything but digits stays a text, for the check to show as it was written.
    lines.push({ ...line, amountMinor: /^\d+$/.test(line.amountMinor!) ? Number(line.amountMinor) : line.amountMinor });
    lineNumbers.push(lineNumber);
  }
  if (lines.length === 0 && !problems.found)
    problems.add('line 2', 'is missing: give at least one line, the period comes from their dates');

  const value = { accountId, holder: accountId, currency, period: periodOf(lines), lines };
  const statement = checkStatement(value, problems, { linePath: (index) => `line ${lineNumbers[index]}` });
  return statement && !problems.found ? { statement } : { problems: problems.list() };
}

type CsvRecord = { readonly lineNumber: number; readonly cells: string[] };

/** Where in a record each column stands. */
function readHeader(
  header: CsvRecord | undefined,
  problems: Problems,
): Record<(typeof columns)[number], number> | undefined {
  const names = header?.cells.map((cell) => cell.trim()) ?? [];
  for (const column of columns) {
    const count = names.filter((name) => name === column).length;
    const expected = `the first line names the columns ${columns.join(',')} in any order`;
    if (count === 0)
      problems.add('line 1', `column "${column}" is missing from ${shown(names.join(','))}: ${expected}`);
    if (count > 1) problems.add('line 1', `column "${column}" stands there ${count} times: ${expected}`);
  }
  if (problems.found) return undefined;
  return Object.fromEntries(columns.map((column) => [column, names.indexOf(column)])) as Record<
    (typeof columns)[number],
    number
  >;
}

/** With no usable date: all time, so that only the dates themselves are reported. */
function periodOf(lines: readonly Record<string, unknown>[]): Period {
  let from = '9999-12-31';
  let to = '0001-01-01';
  for (const { date } of lines) {
    if (typeof date !== 'string' || !isCalendarDate(date)) continue;
    if (date < from) from = date;
    if (date > to) to = date;
  }
  return from <= to ? { from, to } : { from: to, to: from };
}

/** Beyond RFC 4180, a line may end in LF or CR alone, and blank lines are skipped. */
function* readRecords(text: string, problems: Problems): Generator<CsvRecord, undefined> {
  const endOfCell = /[,\r\n]|$/g;
  let at = 0;
  let lineNumber = 1;

  const indexOfEnd = (from: number) => {
    endOfCell.lastIndex = from;
    return endOfCell.exec(text)!.index;
  };

  const readPlain = () => {
    const end = indexOfEnd(at);
    const cell = text.slice(at, end);
    if (cell.includes('"'))
      problems.add(
        `line ${lineNumber}`,
        `has a quote inside ${shown(cell)}: put the value in quotes and double those inside`,
      );
    at = end;
    return cell;
  };

  const readQuoted = () => {
    const startedOn = lineNumber;
    const parts: string[] = [];
    for (;;) {
      const quote = text.indexOf('"', at + 1);
      const part = text.slice(at + 1, quote === -1 ? text.length : quote);
      parts.push(part);
      lineNumber += part.match(/\r\n|\r|\n/g)?.length ?? 0;
      if (quote === -1)
        problems.add(
          `line ${startedOn}`,
          'has a quote that is never closed: close it, and double quotes inside a value',
        );
      at = quote === -1 ? text.length : quote + 1;
      if (text[at] !== '"') break;
    }
    const end = indexOfEnd(at);
    if (end > at)
      problems.add(
        `line ${lineNumber}`,
        `has ${shown(text.slice(at, end))} after a closing quote: double quotes inside a value`,
      );
    at = end;
    return parts.join('"');
  };

  while (at < text.length) {
    const record: CsvRecord = { lineNumber, cells: [] };
    do {
      if (record.cells.length > 0) at += 1;
      record.cells.push(text[at] === '"' ? readQuoted() : readPlain());
    } while (text[at] === ',');
    at += text.startsWith('\r\n', at) ? 2 : 1;
    lineNumber += 1;
    if (record.cells.length > 1 || record.cells[0] !== '') yield record;
  }
  return undefined;
}
