/** A title, columns padded to their widest cell (the first to the left, figures to the right), and notes below. */
export function table(title: string, rows: readonly (readonly string[])[], notes: readonly string[] = []): string {
  const widths = rows[0]!.map((_cell, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd();
  const [head, ...body] = rows.map(line);
  const rule = '-'.repeat(Math.max(...rows.map(line).map(({ length }) => length)));
  return [title, '', head, rule, ...body, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n');
}

/** `12.3 ms` below a hundred, `123 ms` above. */
export function ms(value: number): string {
  return `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`;
}

export function ratio(value: number): string {
  return `${value.toFixed(2)} ×`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `12,345` */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Cells: ours, theirs, and how much better ours is; where there are none of theirs, dashes. */
export function beside(
  [ours, theirs]: readonly number[],
  show: (value: number) => string,
  { smallerIsBetter = false } = {},
): string[] {
  if (theirs === undefined) return [show(ours!), '-', '-'];
  return [show(ours!), show(theirs), ratio(smallerIsBetter ? theirs / ours! : ours! / theirs)];
}

/** Whether an aim is met, and by how much it is not. */
export function verdict(value: number, aim: number): string {
  if (value <= aim) return 'met';
  return aim === 0 ? 'missed' : `missed by ${Math.round((value / aim - 1) * 100)} %`;
}
