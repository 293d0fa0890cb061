import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Mutation, mutations } from './mutations.ts';

// Simulates parcels in a build with one planted bug, named by the first argument. Prints what broke, and in which run.

const root = join(import.meta.dirname, '../..');
const mutation = mutations.find(({ name }) => name === process.argv[2]);
if (!mutation) throw new Error(`there is no mutation "${process.argv[2]}"`);
plant(mutation);
const { SimulationFailed, simulate } = await import('../../packages/testing/src/index.ts');
let runs = 0;
const onRun = () => {
  runs++;
};
try {
  await simulate({ system: join(root, 'packages/testing/parcels'), runs: 1_000, shrinks: false, onRun });
  process.stdout.write(JSON.stringify({ runs, broken: [] }));
} catch (error) {
  if (!(error instanceof SimulationFailed)) throw error;
  const broken = error.failure.found.violations.map(({ invariant }) => invariant);
  process.stdout.write(JSON.stringify({ runs, broken }));
}

/** @throws where the text is not there exactly once: the code has changed, and the bug is planted nowhere */
function plant({ name, file, text, bug }: Mutation): void {
  const path = join(root, file);
  const source = readFileSync(path, 'utf8');
  const found = source.split(text).length - 1;
  if (found !== 1) throw new Error(`"${name}": its text is in ${file} ${found} times, and must be there once`);
  const url = pathToFileURL(path).href;
  registerHooks({
    load(of, context, next) {
      if (of !== url) return next(of, context);
      return { format: 'module-typescript', source: source.replace(text, () => bug), shortCircuit: true };
    },
  });
}
