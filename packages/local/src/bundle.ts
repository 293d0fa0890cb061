// The bundler's process: node bundle.ts SYSTEM-FILE OUTPUT-FOLDER
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { describeSystem, load } from './describe.ts';

const [systemFile, outputFolder] = process.argv.slice(2) as [string, string];

/**
 * Files that code names relative to itself, by the literal forms `new URL('./x', import.meta.url)` and
 * `import.meta.resolve('package/x')`, are copied beside the bundle, so that a bundle runs from any folder.
 */
const assets: Plugin = {
  name: 'assets',
  setup({ onLoad }) {
    const copy = (path: string) => {
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
          (_all, file) => `new URL('${copy(resolve(dirname(path), file))}', import.meta.url)`,
        )
        .replace(
          /import\.meta\.resolve\(\s*'([^']+)',?\s*\)/g,
          (_all, file) => `new URL('${copy(createRequire(path).resolve(file))}', import.meta.url).href`,
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
await build({
  entryPoints: Object.fromEntries([
    ...manifest.services.flatMap(({ name, run }) => (run.kind === 'bundle' ? [[name, `entry:${run.source}`]] : [])),
    [basename(manifest.spare, '.mjs'), join(import.meta.dirname, 'spare-process.ts')],
  ]),
  bundle: true,
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
writeFileSync(join(outputFolder, 'manifest.json'), JSON.stringify(manifest));
