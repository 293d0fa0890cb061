import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { retentionDefaults } from '../packages/cli/src/settings.ts';
import { start } from '../packages/cli/src/start.ts';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');

/** The rows of the tables of a section: cells without their code marks. */
function rows(section: string): string[][] {
  const text = page.split(/^## /m).find((part) => part.startsWith(`${section}\n`))!;
  return [...text.matchAll(/^\| (`.+) \|$/gm)].map(([, row]) =>
    row!.split(' | ').map((cell) => cell.replaceAll('`', '')),
  );
}

test('docs/operations.md lists every option of start as the command describes it, and no other', () => {
  const options = Object.entries(start.options).map(([name, { value, description }]) => [
    `--${name}${value === undefined ? '' : ` ${value}`}`,
    description.replaceAll('`', ''),
  ]);
  expect(rows('Settings').filter(([name]) => name!.startsWith('--'))).toEqual(options);
});

test('docs/operations.md lists every setting of retention with its default', () => {
  const told = rows('What is kept, and for how long').map(([name, otherwise]) => [name, otherwise]);
  expect(Object.fromEntries(told)).toEqual(retentionDefaults);
});

test('docs/operations.md lists every setting of Casework, and no other', () => {
  const source = readFileSync(join(root, 'apps/casework/settings.ts'), 'utf8');
  const used = new Set(source.match(/CASEWORK_[A-Z_]+/g));
  const told = rows('Settings').map(([name]) => name!);
  expect(told.filter((name) => name.startsWith('CASEWORK_')).toSorted()).toEqual([...used].toSorted());
});

test('systemd finds nothing wrong with the unit', (context) => {
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) context.skip('this machine has no systemd-analyze');
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-unit-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const unit = join(folder, 'dormouse.service');
  // It looks for the program too.
  writeFileSync(unit, readFileSync(join(root, 'docs/dormouse.service'), 'utf8').replaceAll('/opt/dormouse', root));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  // Other units of the machine are its own business.
  expect({ status, about: stderr.split('\n').filter((line) => line.includes('dormouse')) }).toEqual({
    status: 0,
    about: [],
  });
});
