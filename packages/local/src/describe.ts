import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DormouseError, type Service, type System, subscriptionPolicy } from '@dormouse/core';
import type { Manifest, ManifestService } from './manifest.ts';

/** The default export of a module. */
export async function load<T>(file: string): Promise<T> {
  return (await import(pathToFileURL(file).href)).default as T;
}

/**
 * What a system declares, with the code of its services loaded. `bundleFolder` is where their bundles lie or will lie.
 * @throws DormouseError `config.unknown-topic`, `config.name`, `config.setting`
 */
export async function describeSystem(systemFile: string, bundleFolder: string): Promise<Manifest> {
  const system = await load<System | undefined>(systemFile);
  if (!system?.services) {
    throw new DormouseError(
      'config.setting',
      `${systemFile} exports no system; write \`export default system('…', {…})\``,
    );
  }
  const folder = dirname(systemFile);
  const topics = new Set(system.topics.map(({ name }) => name));
  const checkTopic = (service: string, topic: string) => {
    if (!topics.has(topic)) {
      throw new DormouseError(
        'config.unknown-topic',
        `service "${service}" listens to "${topic}", which system "${system.name}" does not declare; add it to \`topics\``,
      );
    }
  };
  const services: ManifestService[] = [];
  for (const [name, declared] of Object.entries(system.services)) {
    if (typeof declared === 'string') {
      const source = resolve(folder, declared);
      const service = await load<Service | undefined>(source);
      if (!service?.subscriptions) {
        throw new DormouseError(
          'config.setting',
          `${declared} exports no service; write \`export default service('${name}', […])\``,
        );
      }
      if (service.name !== name) {
        throw new DormouseError(
          'config.name',
          `system "${system.name}" calls "${name}" what ${declared} calls "${service.name}"; use one name`,
        );
      }
      for (const { topic } of service.subscriptions) checkTopic(name, topic.name);
      services.push({
        name,
        limits: service.limits,
        subscriptions: service.subscriptions.map(({ name, topic, ackDeadlineMs, order }) => ({
          name,
          topic: topic.name,
          ackDeadlineMs,
          ...(order && { order }),
          dormouse: true,
        })),
        run: { kind: 'bundle', file: join(bundleFolder, `${name}.mjs`), source },
      });
    } else {
      const { command, subscriptions, concurrency = 16, maxInstances = 1 } = declared;
      services.push({
        name,
        limits: { concurrency, maxInstances },
        subscriptions: subscriptions.map(({ topic, ackDeadline }) => {
          checkTopic(name, topic.name);
          const fullName = `${name}.${topic.name}`;
          const { ackDeadlineMs } = subscriptionPolicy(fullName, ackDeadline === undefined ? {} : { ackDeadline });
          return { name: fullName, topic: topic.name, ackDeadlineMs, dormouse: false };
        }),
        run: { kind: 'command', command, folder },
      });
    }
  }
  return {
    system: system.name,
    topics: system.topics.map(({ name, version }) => ({ name, version })),
    services,
    // No service can have this name.
    spare: join(bundleFolder, 'spare.process.mjs'),
    ...(system.commands && { commands: resolve(folder, system.commands) }),
    ...(system.sandbox && { sandbox: resolve(folder, system.sandbox) }),
    ...(system.simulation && { simulation: resolve(folder, system.simulation) }),
    ...(system.closedStatuses && { closedStatuses: system.closedStatuses }),
    ...(system.sample && { sample: { ...system.sample, file: resolve(folder, system.sample.file) } }),
  };
}
