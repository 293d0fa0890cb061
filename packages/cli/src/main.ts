#!/usr/bin/env node
import { enableCompileCache } from 'node:module';

// Before the first of our modules: stripped and compiled sources are kept, and a start loads neither stripper nor compiler.
enableCompileCache();
const { main } = await import('./command-line.ts');
process.exitCode = await main(process.argv.slice(2));
