import { expect, test, vi } from 'vitest';
import { simulateCommand } from './simulate-command.ts';

// Many processes, on a machine that may have other work.
vi.setConfig({ testTimeout: 300_000 });

const parcels = 'packages/testing/parcels';

test('npm run simulate shares the runs among processes, and says which faults they met', async () => {
  const { code, output } = await simulateCommand(parcels, '--runs', '40', '--seed', '7', '--processes', '2');
  expect(output).toMatch(/^packages\/testing\/parcels: seeds 7 to 46\n/);
  expect(output).toMatch(/40 of 40 runs/);
  expect(output).toMatch(/40 runs in .* s: every invariant held/);
  expect(output).toMatch(/instance\.killed +[1-9]\d* {2}a process dies/);
  expect(code).toBe(0);
});

test('--trace shows all that happens in one run, the same each time', async () => {
  const [one, other] = [
    await simulateCommand(parcels, '--seed', '3', '--trace'),
    await simulateCommand(parcels, '--seed', '3', '--trace'),
  ];
  expect(one.code).toBe(0);
  expect(one.output).toMatch(/ {2}courier\.parcel\.posted \S+: takes the message\n/);
  expect(other.output).toBe(one.output);
});

test('a failure ends with 1, and with the command that repeats it, which does', async () => {
  const broken = 'test/simulation/broken/system.ts';
  const found = await simulateCommand(broken, '--runs', '50', '--seed', '1');
  expect(found.code).toBe(1);
  expect(found.output).toMatch(/breaks:\n {2}every parcel is collected once\n/);
  const repeat = /repeat it: npm run simulate -- (\S+) --seed (\d+)\n/.exec(found.output)!;
  expect(repeat[1]).toBe(broken);
  const repeated = await simulateCommand(broken, '--seed', repeat[2]!);
  expect(repeated.code).toBe(1);
  const told = (output: string) => output.slice(output.indexOf('what happened then:'));
  expect(told(repeated.output)).toBe(told(found.output));
});

test('what cannot be simulated is told with what can', async () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [[], 'which system? Give its folder, such as apps/casework'],
    [['apps/casework', '--runs', 'many'], '--runs must be a whole number from 1, got "many"'],
    [['apps/casework', '--only', 'rain'], '--only: there is no fault "rain"'],
    [['apps/casework', '--trace'], '--trace shows one run: give its --seed, and no --runs'],
    [['apps/casework', '--topology', 'round'], '--topology must be apart or shared, got "round"'],
    [['nowhere'], 'there is no system at'],
  ];
  for (const [given, message] of cases) {
    const { code, errors } = await simulateCommand(...given);
    expect(errors).toContain(message);
    expect(code).toBe(2);
  }
  const help = await simulateCommand('--help');
  expect(help.code).toBe(0);
  expect(help.output).toMatch(/^Usage: npm run simulate -- SYSTEM/);
});
