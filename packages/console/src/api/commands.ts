import { type Command, runCommand, type StepPorts } from '@dormouse/core';
import { z } from 'zod';
import type { Route } from './route.ts';

/** The operations that the system's own commands are. */
export function commandRoutes(
  ports: StepPorts & { readonly system: string; readonly commands: readonly Command[] },
): Route[] {
  return ports.commands.map((command): Route => {
    const { name, summary, body, output, authentication, role, maxBodyBytes } = command;
    return {
      method: 'POST',
      path: command.route.replace('POST ', '') as Route['path'],
      name,
      summary: summary ?? `The command ${name}.`,
      access: authentication === 'none' ? 'anyone' : role,
      maxBodyBytes,
      repeatable: authentication === 'token',
      ...(body && { body }),
      answers: { 201: { description: 'done', schema: output ?? z.looseObject({}) } },
      async handle({ actor, params, context }) {
        const request = { headers: context.req.raw.headers, body: await context.req.text(), params };
        return context.json((await runCommand(command, request, actor, ports.system, ports)) as object, 201);
      },
    };
  });
}
