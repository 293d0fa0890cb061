import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command, Service } from '@dormouse/core';
import { describeSystem, loadCommands, type Manifest } from '@dormouse/local';

/** A system with all its code in this process. */
export interface LoadedSystem {
  readonly manifest: Manifest;
  /** Those that are TypeScript, by name. */
  readonly services: ReadonlyMap<string, Service>;
  readonly commands: ReadonlyMap<string, Command>;
}

/** @param systemFile absolute */
export async function loadSystem(systemFile: string): Promise<LoadedSystem> {
  const manifest = await describeSystem(systemFile, dirname(systemFile));
  const services = new Map<string, Service>();
  for (const { name, run } of manifest.services) {
    if (run.kind === 'bundle') services.set(name, await defaultOf<Service>(run.source));
  }
  const commands = await loadCommands(manifest);
  return { manifest, services, commands: new Map(commands.map((command) => [command.name, command])) };
}

export async function defaultOf<T>(file: string): Promise<T> {
  return ((await import(pathToFileURL(file).href)) as { default: T }).default;
}
