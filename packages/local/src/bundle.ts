// The bundler's process: node bundle.ts SYSTEM-FILE OUTPUT-FOLDER
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { describeSystem, load } from './describe.ts';
import { commandSources, type Sources } from './sources.ts';

const [systemFile, outputFolder] = process.argv.slice(2) as [string, string];

/** By the source that names them. */
const assetsOf = new Map<string, string[]>();

/**
 * Files that code names relative to itself, by the literal forms `new URL('./x', import.meta.url)` and
 * `import.meta.resolve('package/x')`, are copied beside the bundle, so that a bundle runs from any folder.
 */
const assets: Plugin = {
  name: 'assets',
  setup({ onLoad }) {
    const copy = (path: string, namedBy: string) => {
      assetsOf.set(namedBy, [...(assetsOf.get(namedBy) ?? []), path]);
      const bytes = readFileSync(path);
      const name = `${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}-${basename(path)}`;
      mkdirSync(join(outputFolder, 'assets'), { recursive: true });
      copyFileSync(path, join(outputFolder, 'assets', name));
      // Chunks and entries lie in one folder, so this holds in each of them.
      return `./assets/${name}`;
    };
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      if (path.includes('node_modules') || !source.includes('import.meta.')) return undefined;
      const contents = source
        .replace(
          /new URL\(\s*'(\.[^']+)',\s*import\.meta\.url,?\s*\)/g,
          (_all, file) => `new URL('${copy(resolve(dirname(path), file), path)}', import.meta.url)`,
        )
        .replace(
          /import\.meta\.resolve\(\s*'([^']+)',?\s*\)/g,
          (_all, file) => `new URL('${copy(createRequire(path).resolve(file), path)}', import.meta.url).href`,
        );
      return { contents, loader: 'ts' };
    });
  },
};

/**
 * An ES module that imports `node:http` evaluates every getter among its exports, and one of them loads undici: 30 ms and
 * 15 MB that no service needs. Taken as CommonJS, only what is used is evaluated.
 */
const lazyHttp: Plugin = {
  name: 'lazy-http',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http$/ }, ({ path, kind }) =>
      // A lazy import wants names, which CommonJS has none of.
      kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('${path}');`,
      loader: 'js',
    }));
  },
};

const entries: Plugin = {
  name: 'entries',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice('entry:'.length), namespace: 'entry' }));
    onLoad({ filter: /.*/, namespace: 'entry' }, ({ path }) => ({
      contents: `import service from ${JSON.stringify(path)};\nimport { serve } from ${JSON.stringify(join(import.meta.dirname, 'serve.ts'))};\nserve(service);\n`,
      resolveDir: import.meta.dirname,
      loader: 'ts',
    }));
  },
};

const manifest = await describeSystem(systemFile, outputFolder);
// Loaded here first: what is broken shows now, and the host finds the modules stripped and compiled.
for (const module of [manifest.commands, manifest.sandbox]) if (module !== undefined) await load(module);
rmSync(outputFolder, { recursive: true, force: true });
mkdirSync(outputFolder, { recursive: true });
const { metafile } = await build({
  entryPoints: Object.fromEntries([
    ...manifest.services.flatMap(({ name, run }) => (run.kind === 'bundle' ? [[name, `entry:${run.source}`]] : [])),
    [basename(manifest.spare, '.mjs'), join(import.meta.dirname, 'spare-process.ts')],
  ]),
  bundle: true,
  metafile: true,
  // What a handler imports lazily stays a file of its own.
  splitting: true,
  chunkNames: 'chunk-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node26',
  outdir: outputFolder,
  outExtension: { '.js': '.mjs' },
  sourcemap: 'linked',
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'error',
  plugins: [entries, assets, lazyHttp],
  // CommonJS packages inside an ES module still call require for Node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
// Of these only what they are made of is wanted.
const roots = { system: systemFile, commands: manifest.commands, sandbox: manifest.sandbox };
const ofHost = await build({
  entryPoints: Object.fromEntries(Object.entries(roots).filter(([, file]) => file !== undefined)) as Record<
    string,
    string
  >,
  bundle: true,
  metafile: true,
  write: false,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  outdir: outputFolder,
  logLevel: 'error',
});
const of = (found: Metafile, name: string) => sourcesIn(found, join(outputFolder, name));
const sources: Sources = {
  system: of(ofHost.metafile, 'system.js'),
  host: [...of(ofHost.metafile, 'commands.js'), ...of(ofHost.metafile, 'sandbox.js')],
  services: {
    ...commandSources(manifest),
    ...Object.fromEntries(
      manifest.services.flatMap(({ name, run }) =>
        run.kind === 'bundle' ? [[name, of(metafile, `${name}.mjs`)]] : [],
      ),
    ),
  },
};
writeFileSync(join(outputFolder, 'sources.json'), JSON.stringify(sources));
writeFileSync(join(outputFolder, 'manifest.json'), JSON.stringify(manifest));

/** The files an output is made of, and the chunks it imports, at once or later. */
function sourcesIn({ outputs }: Metafile, output: string): string[] {
  const byPath = new Map(Object.entries(outputs).map(([path, found]) => [resolve(path), found]));
  const seen = new Set<string>();
  const files = new Set<string>();
  for (const waiting = [output]; waiting.length > 0; ) {
    const path = waiting.pop()!;
    const found = byPath.get(path);
    if (!found || seen.has(path)) continue;
    seen.add(path);
    waiting.push(...found.imports.filter(({ external }) => !external).map(({ path }) => resolve(path)));
    for (const input of Object.keys(found.inputs)) {
      // `entry:` and `builtin:` are no files.
      if (/^(entry|builtin):/.test(input) || input.includes('node_modules/')) continue;
      const file = resolve(input);
      files.add(file);
      for (const asset of assetsOf.get(file) ?? []) files.add(asset);
    }
  }
  return [...files];
}
