import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { makeImageFolders } from './image-folder.ts';
import { startImage } from './image-process.ts';

const usage = `Usage: npm run image -- [SYSTEM-FILE] --out FOLDER [options]

Makes in FOLDER/NAME what the image of a service on Google Cloud consists of. deploy/Dockerfile does the same and puts it
on a base image. The default for SYSTEM-FILE is what package.json names.

  --service NAME     of which; more than once for several, "console" for the console (default: all)
  --start NAME       starts that one from its folder, where it was made before; it finds nothing in its environment but
                     what --env says
  --env NAME=VALUE   more than once; NAME alone takes the value from here
`;

function fail(message: string): never {
  process.stderr.write(`image: ${message}\n\n${usage}`);
  process.exit(1);
}

function readArguments() {
  try {
    const text = { type: 'string' } as const;
    const texts = { type: 'string', multiple: true } as const;
    return parseArgs({
      allowPositionals: true,
      options: { service: texts, out: text, start: text, env: texts, help: { type: 'boolean', short: 'h' } },
    });
  } catch (error) {
    return fail((error as Error).message);
  }
}

const { values, positionals } = readArguments();
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
if (values.out === undefined) fail('--out FOLDER is needed');
// npm runs scripts elsewhere, and says where the user was.
const userFolder = process.env.INIT_CWD ?? process.cwd();
const out = resolve(userFolder, values.out);

if (values.start === undefined) {
  const systemFile = systemFileOf(positionals[0]);
  try {
    const names = values.service && { names: values.service };
    for (const folder of await makeImageFolders({ systemFile, ...names, out })) process.stdout.write(`${folder}\n`);
  } catch (error) {
    process.stderr.write(`image: ${(error as Error).message}\n`);
    process.exit(1);
  }
} else {
  const folder = join(out, values.start);
  if (!existsSync(join(folder, 'service.mjs'))) fail(`there is no image ${folder}; make it first`);
  const started = startImage(folder, Object.fromEntries((values.env ?? []).map(variable)));
  started.stdout!.pipe(process.stdout);
  started.stderr!.pipe(process.stderr);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => started.kill('SIGTERM'));
  started.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

function variable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at === -1) return [text, process.env[text] ?? ''];
  return [text.slice(0, at), text.slice(at + 1)];
}

function systemFileOf(given: string | undefined): string {
  const project = join(import.meta.dirname, '../package.json');
  const named = JSON.parse(readFileSync(project, 'utf8')).dormouse.system as string;
  const file = given === undefined ? join(dirname(project), named) : resolve(userFolder, given);
  if (!existsSync(file)) fail(`there is no system file ${file}`);
  return file;
}
