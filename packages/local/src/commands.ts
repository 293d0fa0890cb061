import { type Command, commandsOf } from '@dormouse/core';
import { load } from './describe.ts';
import type { Manifest } from './manifest.ts';

/** All commands of a system, loaded: those it declares, and those that every system has. */
export async function loadCommands({ commands, services }: Manifest): Promise<readonly Command[]> {
  return commandsOf(commands === undefined ? [] : await load<readonly Command[]>(commands), { services });
}
