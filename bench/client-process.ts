// A client of Google's in a process of its own: node client-process.ts BUNDLE ADDRESS WRITES
// Tells when it has read for the first time, then how long each write took, and stays until it is killed.

/** A client that is ready to be used. */
export interface Opened {
  read(): Promise<void>;
  /** The n-th, from 0. */
  write(n: number): Promise<void>;
}

/** A line of what the process tells. */
export type Told = { readonly importMs: number; readonly readMs: number } | { readonly writesMs: readonly number[] };

const [bundle, address, writes] = process.argv.slice(2) as [string, string, string];
const tell = (told: Told) => process.stdout.write(`${JSON.stringify(told)}\n`);

const begunAt = performance.now();
const { open } = (await import(bundle)) as { open: (address: string) => Promise<Opened> };
const importedAt = performance.now();
const client = await open(address);
await client.read();
tell({ importMs: importedAt - begunAt, readMs: performance.now() - importedAt });

const writesMs: number[] = [];
for (let n = 0; n < Number(writes); n++) {
  const at = performance.now();
  await client.write(n);
  writesMs.push(performance.now() - at);
}
tell({ writesMs });
setInterval(() => {}, 60_000);
// Leaving writes the compile cache; being killed does not.
process.on('SIGTERM', () => process.exit());
