// The bundler's process: node bundle.ts SYSTEM-FILE OUTPUT-FOLDER [FOLDER-BEFORE] [CONSOLE-MODULE]
// With the output of a build before, it reads all sources at once, and bundles when stdin says so: what has not changed since
// is not read again. With a module of a console it is bundled too, as a service of its own.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { context, type Metafile, type Plugin, stop } from 'esbuild';
import { describeSystem, load } from './describe.ts';
import type { Manifest } from './manifest.ts';
import { commandSources, type Sources } from './sources.ts';

const [systemFile, outputFolder, folderBefore, consoleModule] = process.argv.slice(2) as [
  string,
  string,
  ...(string | undefined)[],
];

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

/** For a system that declares none: those that every system has. */
const noCommands = 'none';

/** The last lines of every bundle, by what it is: of a service, or of the console with the system's commands. */
const lastLines = {
  'service:': (service: string) =>
    `import service from ${JSON.stringify(service)};\nimport { serve } from ${JSON.stringify(join(import.meta.dirname, 'serve.ts'))};\nserve(service);\n`,
  'console:': (commands: string) =>
    `${commands === noCommands ? 'const commands = []' : `import commands from ${JSON.stringify(commands)}`};\nimport { serveConsole } from ${JSON.stringify(consoleModule)};\nserveConsole(commands);\n`,
};

const entries: Plugin = {
  name: 'entries',
  setup({ onResolve, onLoad }) {
    for (const [prefix, contentsOf] of Object.entries(lastLines)) {
      const namespace = prefix.slice(0, -1);
      onResolve({ filter: new RegExp(`^${prefix}`) }, ({ path }) => ({ path: path.slice(prefix.length), namespace }));
      onLoad({ filter: /.*/, namespace }, ({ path }) => ({
        contents: contentsOf(path),
        resolveDir: import.meta.dirname,
        loader: 'ts',
      }));
    }
  },
};

/** No service can have this name. */
const consoleEntry = 'console.process';

/** Node's own words, from `describeSystem`, tell better what is wrong with a source than esbuild's: those come second. */
const quiet = { bundle: true, metafile: true, write: false, platform: 'node', logLevel: 'silent' } as const;

function contextOfServices({ services, spare, commands }: Manifest) {
  return context({
    ...quiet,
    entryPoints: Object.fromEntries([
      ...services.flatMap(({ name, run }) => (run.kind === 'bundle' ? [[name, `service:${run.source}`]] : [])),
      ...(consoleModule ? [[consoleEntry, `console:${commands ?? noCommands}`] as const] : []),
      [basename(spare, '.mjs'), join(import.meta.dirname, 'spare-process.ts')],
    ]),
    // What a handler imports lazily stays a file of its own.
    splitting: true,
    chunkNames: 'chunk-[hash]',
    format: 'esm',
    target: 'node26',
    outdir: outputFolder,
    outExtension: { '.js': '.mjs' },
    sourcemap: 'linked',
    minifySyntax: true,
    legalComments: 'none',
    plugins: [entries, assets, lazyHttp],
    // CommonJS packages inside an ES module still call require for Node's own modules.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
}

/** Of what the host loads only what it is made of is wanted. */
function contextOfHost({ commands, sandbox }: Manifest) {
  const roots = { system: systemFile, ...(commands && { commands }), ...(sandbox && { sandbox }) };
  return context({ ...quiet, entryPoints: roots, packages: 'external', format: 'esm', outdir: outputFolder });
}

type Contexts = readonly [
  services: Awaited<ReturnType<typeof contextOfServices>>,
  host: Awaited<ReturnType<typeof contextOfHost>>,
];

async function contextsOf(manifest: Manifest): Promise<Contexts> {
  return [await contextOfServices(manifest), await contextOfHost(manifest)];
}

function rebuilt([services, host]: Contexts) {
  return Promise.all([services.rebuild(), host.rebuild()]);
}

/** What a build of it begins at. */
function rootsOf({ services, commands, sandbox }: Manifest): string {
  return JSON.stringify([services.map(({ name, run }) => [name, run]), commands, sandbox], (key, value) =>
    key === 'file' ? undefined : value,
  );
}

async function described(): Promise<Manifest> {
  const manifest = await describeSystem(systemFile, outputFolder);
  // Loaded here first: what is broken shows now, and the host finds the modules stripped and compiled.
  for (const module of [manifest.commands, manifest.sandbox]) if (module !== undefined) await load(module);
  return manifest;
}

let prepared: { readonly roots: string; readonly contexts: Contexts } | undefined;
if (folderBefore) {
  const before: Manifest = JSON.parse(readFileSync(join(folderBefore, 'manifest.json'), 'utf8'));
  const contexts = await contextsOf(before);
  // What is broken now may be mended until it counts.
  const reading = rebuilt(contexts).catch(() => {});
  process.stdin.once('end', () => process.exit());
  await once(process.stdin, 'data');
  await Promise.all(contexts.map((each) => each.cancel()));
  await reading;
  prepared = { roots: rootsOf(before), contexts };
}
rmSync(outputFolder, { recursive: true, force: true });
mkdirSync(outputFolder, { recursive: true });
assetsOf.clear();
// While the system is described, on the chance that it is made of the same roots.
const early = prepared && rebuilt(prepared.contexts);
early?.catch(() => {});
const manifest = await described();
const [ofServices, ofHost] = await (early && prepared?.roots === rootsOf(manifest)
  ? early
  : rebuilt(await contextsOf(manifest)));
for (const { path, contents } of ofServices.outputFiles) writeFileSync(path, contents);
const of = (found: Metafile, name: string) => sourcesIn(found, join(outputFolder, name));
const sources: Sources = {
  system: of(ofHost.metafile, 'system.js'),
  host: [...of(ofHost.metafile, 'commands.js'), ...of(ofHost.metafile, 'sandbox.js')],
  services: {
    ...commandSources(manifest),
    ...Object.fromEntries(
      manifest.services.flatMap(({ name, run }) =>
        run.kind === 'bundle' ? [[name, of(ofServices.metafile, `${name}.mjs`)]] : [],
      ),
    ),
  },
};
writeFileSync(join(outputFolder, 'sources.json'), JSON.stringify(sources));
writeFileSync(join(outputFolder, 'manifest.json'), JSON.stringify(manifest));
await stop();
process.exit();

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
      // `service:`, `console:` and `builtin:` are no files.
      if (/^(service|console|builtin):/.test(input) || input.includes('node_modules/')) continue;
      const file = resolve(input);
      files.add(file);
      for (const asset of assetsOf.get(file) ?? []) files.add(asset);
    }
  }
  return [...files];
}
