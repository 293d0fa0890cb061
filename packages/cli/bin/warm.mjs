// Loads what `dormouse start` loads, so that Node keeps it stripped and compiled in the folder given.
import { enableCompileCache } from 'node:module';

enableCompileCache(process.argv[2]);
await import('../src/command-line.ts');
await import('../src/start.ts');
