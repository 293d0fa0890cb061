import type { Duration } from './duration.ts';
import { DormouseError } from './errors.ts';
import { checkName, checkServiceName } from './name.ts';
import type { ServiceLimits } from './service.ts';
import { deadLetter } from './system-topics.ts';
import type { Topic } from './topic.ts';

/** A service that is no TypeScript: any command that listens on `PORT` and takes Pub/Sub pushes at `/pubsub-push`. */
export interface ForeignService extends Partial<ServiceLimits> {
  /** Run in the folder of the system's file. */
  readonly command: readonly [string, ...string[]];
  readonly subscriptions: readonly { readonly topic: Topic; readonly ackDeadline?: Duration }[];
}

/** A whole system as its file declares it. Paths are relative to that file; each is a module with a default export. */
export interface System {
  readonly name: string;
  readonly topics: readonly Topic[];
  /** The module of each service (`service(...)`), or what runs it. */
  readonly services: Readonly<Record<string, string | ForeignService>>;
  /** Module whose default export lists the commands. */
  readonly commands?: string;
  /** Module that plays the outside world on a developer's machine. */
  readonly sandbox?: string;
  /** Module that says what happens around it in a simulation, and what must hold there: `simulation({…})` of `@dormouse/testing`. */
  readonly simulation?: string;
  /** Statuses of a workflow that is over for good: only then may retention remove its files. Default: none. */
  readonly closedStatuses?: readonly string[];
  /** What a first start on a new data directory tries out: the body in this file, sent to this route. */
  readonly sample?: { readonly route: `POST /api/${string}`; readonly file: string };
}

/** Has the topic `dead.letter` also where it is not declared. @throws DormouseError `config.name`, `config.duplicate` */
export function system(name: string, definition: Omit<System, 'name'>): System {
  checkName('system', name);
  const names = new Set<string>();
  for (const { name: topicName } of definition.topics) {
    if (names.has(topicName))
      throw new DormouseError('config.duplicate', `system "${name}" declares topic "${topicName}" twice; remove one`);
    names.add(topicName);
  }
  for (const serviceName of Object.keys(definition.services)) checkServiceName(serviceName);
  // A delivery that is given up is always told, also where nobody listens yet.
  const topics = names.has(deadLetter.name) ? definition.topics : [...definition.topics, deadLetter];
  return { name, ...definition, topics };
}
