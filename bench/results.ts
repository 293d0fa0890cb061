import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join, relative } from 'node:path';

const folder = join(import.meta.dirname, 'results');

/** Opens a results file named after this moment; the function it answers adds figures and writes it anew. */
export async function saveResults(run: object): Promise<(name: string, figures: object) => string> {
  const at = new Date().toISOString();
  const results: Record<string, unknown> = { at, ...run, machine: machine(), loadAtStart: loadavg() };
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${at.replaceAll(':', '-').slice(0, 19)}.json`);
  return (name, figures) => {
    results[name] = figures;
    results.loadAtEnd = loadavg();
    writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
    return relative(process.cwd(), file);
  };
}

function machine(): object {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    system: `${platform()} ${release()}`,
    node: process.version,
    commit: commit(),
  };
}

/** What was measured; marked where the checkout holds more than that. */
function commit(): string | undefined {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with changes');
  } catch {
    // Not a checkout, or no git: the figures stand without it.
    return undefined;
  }
}
