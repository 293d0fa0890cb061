#!/usr/bin/env node
// Plain JavaScript, so that Node's type stripper is not loaded for this file: with sources that an earlier process
// stripped and compiled, a host never loads it. docs/decisions/0001 has the figures.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { join } from 'node:path';

if (Number.parseInt(process.versions.node, 10) < 26) {
  process.stderr.write(
    `dormouse: this is Node ${process.versions.node}; run it through npm (npm run dormouse -- …), which brings Node 26\n`,
  );
  process.exit(1);
}
const cache = join(import.meta.dirname, '../../../node_modules/.cache/dormouse');
if (['start', 'dev'].includes(process.argv[2]) && !existsSync(cache)) {
  spawnSync(process.execPath, [join(import.meta.dirname, 'warm.mjs'), cache], { stdio: 'ignore' });
}
module.enableCompileCache(cache);
// For the bundler's process, which loads the app's modules before the host does.
process.env.NODE_COMPILE_CACHE = cache;
const { main } = await import('../src/command-line.ts');
process.exitCode = await main(process.argv.slice(2));
