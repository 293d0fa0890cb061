import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type FaultName, faultNames, faults } from './faults.ts';
import type { Share, Told } from './share.ts';
import { type SimulationReport, simulateOnce } from './simulate.ts';
import type { Topology } from './simulated-host.ts';

const usage = `Usage: npm run simulate -- SYSTEM [options]

Runs a whole system on virtual time, again and again, each time with other faults: messages come twice, late and out of
order, processes die, commits are answered with errors, clocks are set. Each run depends on its seed alone. Exits 1 where
an invariant does not hold, with the shortest run found that breaks it.

  SYSTEM          the system's folder or file: apps/casework
  --runs N        how many runs (default 1000; 1 with --seed)
  --seed N        of the first run; the next has the next number (default: drawn, and printed)
  --trace         prints all that happens in the one run of --seed, also where nothing breaks
  --only A,B      only these faults (default: all of them)
  --topology T    apart: store and broker, with outbox and relay (default); shared: one database, one transaction
  --processes N   how many processes share the runs (default: one a core)

Faults:
${faultNames.map((name) => `  ${name.padEnd(23)} ${faults[name].about}`).join('\n')}
`;

function fail(message: string): never {
  process.stderr.write(`simulate: ${message}\n\n${usage}`);
  process.exit(2);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    return parseArgs({
      allowPositionals: true,
      options: {
        runs: text,
        seed: text,
        only: text,
        topology: text,
        processes: text,
        trace: flag,
        help: { ...flag, short: 'h' },
      },
    });
  } catch (error) {
    return fail((error as Error).message);
  }
}

const { values: given, positionals } = readOptions();
if (given.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const [path, ...more] = positionals;
if (path === undefined) fail('which system? Give its folder, such as apps/casework');
if (more.length > 0) fail(`one system at a time; got ${positionals.join(', ')}`);

function wholeNumber(name: 'runs' | 'seed' | 'processes', least: number, otherwise: number): number {
  const value = Number(given[name] ?? otherwise);
  if (!Number.isSafeInteger(value) || value < least) {
    fail(`--${name} must be a whole number from ${least}, got "${given[name]}"`);
  }
  return value;
}

function onlyFaults(): readonly FaultName[] | undefined {
  const names = given.only?.split(',').map((name) => name.trim());
  const unknown = names?.find((name) => !faultNames.includes(name as FaultName));
  if (unknown !== undefined) fail(`--only: there is no fault "${unknown}"`);
  return names as FaultName[] | undefined;
}

function topologyOf(name: string): Topology {
  if (name === 'apart' || name === 'shared') return name;
  return fail(`--topology must be apart or shared, got "${name}"`);
}

const seed = wholeNumber('seed', 0, Math.floor(Math.random() * 1e9));
const runs = wholeNumber('runs', 1, given.seed === undefined ? 1_000 : 1);
const processes = Math.min(wholeNumber('processes', 1, availableParallelism()), runs);
const only = onlyFaults();
const topology = topologyOf(given.topology ?? 'apart');

if (given.trace) await showTrace();
else process.exitCode = await runAll();

async function showTrace(): Promise<void> {
  if (given.seed === undefined || runs > 1) fail('--trace shows one run: give its --seed, and no --runs');
  const { trace, violations } = await simulateOnce({ system: path!, seed, topology, ...(only && { faults: only }) });
  process.stdout.write(`${trace.join('\n')}\n`);
  if (violations.length > 0) process.exitCode = 1;
}

async function runAll(): Promise<number> {
  const startedAt = performance.now();
  const isTerminal = process.stdout.isTTY === true;
  let done = 0;
  let shown = 0;
  const progress = () => {
    const perSecond = done / ((performance.now() - startedAt) / 1000);
    const line = `${done.toLocaleString('en')} of ${count(runs)} · ${perSecond.toFixed(0)} a second`;
    if (isTerminal) process.stdout.write(`\r\u001b[K${line}`);
    // Each tenth of them is enough for a log.
    else if (Math.floor((done / runs) * 10) > Math.floor((shown / runs) * 10)) process.stdout.write(`${line}\n`);
    shown = done;
  };
  process.stdout.write(`${path}: ${runs === 1 ? `seed ${seed}` : `seeds ${seed} to ${seed + runs - 1}`}\n`);
  const reports: SimulationReport[] = [];
  const failures: { readonly failed: string; readonly seed: number }[] = [];
  const children = shares().map((share) => {
    const child = fork(new URL('./share.ts', import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    child.on('message', (told: Told) => {
      if ('runs' in told) {
        done += told.runs;
        progress();
      } else if ('report' in told) reports.push(told.report);
      else if ('failed' in told) failures.push(told);
      else process.stderr.write(`${told.error}\n`);
    });
    child.send(share);
    return child;
  });
  const stop = () => {
    for (const child of children) child.kill();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const codes = await Promise.all(children.map((child) => once(child, 'exit')));
  if (isTerminal) process.stdout.write('\r\u001b[K');
  const [failure] = failures.toSorted((one, other) => one.seed - other.seed);
  if (failure) {
    process.stdout.write(`${failure.failed}\n`);
    return 1;
  }
  if (reports.length < children.length) return codes.some(([, signal]) => signal !== null) ? 130 : 2;
  process.stdout.write(`${told(reports, (performance.now() - startedAt) / 1000)}\n`);
  return 0;
}

/** Neighbouring seeds go together, so that each process has a range. */
function shares(): Share[] {
  const system = path!;
  return Array.from({ length: processes }, (_, index) => {
    const first = Math.floor((index * runs) / processes);
    const next = Math.floor(((index + 1) * runs) / processes);
    return { system, seed: seed + first, runs: next - first, topology, ...(only && { faults: only }) };
  });
}

function count(number: number): string {
  return `${number.toLocaleString('en')} run${number === 1 ? '' : 's'}`;
}

function told(reports: readonly SimulationReport[], seconds: number): string {
  const sum = (of: (report: SimulationReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  const years = sum(({ simulatedMs }) => simulatedMs) / (365 * 86_400_000);
  const points = sum((report) => report.points);
  const lines = faultNames.map((name) => {
    const times = sum(({ struck }) => struck[name] ?? 0);
    return `  ${name.padEnd(23)} ${times.toLocaleString('en').padStart(9)}  ${faults[name].about}`;
  });
  return [
    `${count(runs)} in ${seconds.toFixed(1)} s: every invariant held`,
    `${years.toFixed(1)} years of virtual time, ${points.toLocaleString('en')} calls, and these faults:`,
    ...lines,
  ].join('\n');
}
