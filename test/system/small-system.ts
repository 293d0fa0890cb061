import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { root } from './program.ts';
import type { RunningSystem } from './running-system.ts';

/**
 * A system of one topic and one command in a folder of its own, whose sources a test writes as it likes. `POST /api/notes`
 * with a text opens a workflow and publishes `note.taken` about it.
 */
export class SmallSystem {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param services the lines of `services` in its declaration */
  static in(folder: string, services: string): SmallSystem {
    const system = new SmallSystem(mkdtempSync(join(folder, 'small-')));
    symlinkSync(join(root, 'node_modules'), join(system.folder, 'node_modules'));
    system.write('package.json', JSON.stringify({ type: 'module', dormouse: { system: './system.ts' } }));
    system.write('note.ts', note);
    system.write('commands.ts', commands);
    system.declare(services);
    return system;
  }

  get systemFile(): string {
    return join(this.folder, 'system.ts');
  }

  declare(services: string): void {
    this.write('system.ts', declaration.replace('SERVICES', services));
  }

  write(name: string, text: string): void {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  /** A service that takes `note.taken`, and does this with `text` and `step`. @param before runs when it is imported */
  service(name: string, body: string, before = ''): void {
    this.write(
      `${name}.ts`,
      `import { on, service } from '@dormouse/core';
import { noteTaken, note } from './note.ts';
${before}
export default service('${name}', [
  on(noteTaken, async ({ data: { text } }, step) => {
${body}
  }, { retry: { attempts: 1 } }),
]);
`,
    );
  }
}

/** Takes a note on a small system that runs, and answers the id of its workflow. */
export async function take(system: RunningSystem, text: string): Promise<string> {
  const response = await system.fetch('/api/notes', { method: 'POST', body: text });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

const note = `import { topic, workflow } from '@dormouse/core';
import * as z from 'zod';
export const note = workflow<{ id: string; text: string; seen?: string }>({ idPrefix: 'NO' });
export const noteTaken = topic('note.taken', { schema: z.object({ text: z.string() }) });
`;

const commands = `import { command, refOf, workflowId, workflows } from '@dormouse/core';
import { note, noteTaken } from './note.ts';
export default [
  command<string, { id: string }>({
    name: 'take',
    route: 'POST /api/notes',
    role: 'client',
    creates: true,
    parse: ({ body }) => body,
    subject: (_input, { now, random }) => ({ ref: refOf(workflows, workflowId(note.idPrefix, now, random)) }),
    async run(text, step) {
      const taken = await step.workflow(note);
      taken.create({ id: taken.id, text });
      step.publish(noteTaken, { text });
      return { id: taken.id };
    },
  }),
];
`;

const declaration = `import { system } from '@dormouse/core';
import { noteTaken } from './note.ts';
export default system('small', {
  topics: [noteTaken],
  services: { SERVICES },
  commands: './commands.ts',
});
`;
