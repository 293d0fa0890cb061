import { DormouseError } from '@dormouse/core';
import type { Invoker } from './invoker.ts';

/** What a service on Google is told by its environment, and nowhere else. The deployment sets it, or an emulator's user. */
export interface GcpEnvironment {
  readonly project: string;
  /** Of Cloud Storage. */
  readonly bucket: string;
  /** Of Cloud Tasks, in full: `projects/…/locations/…/queues/…`. */
  readonly queue: string;
  /** Where this service is reached: the audience of the tokens it takes, and where its tasks go. */
  readonly serviceUrl: string;
  /** Who may push to it and wake it by a task; and whose its own tasks are. */
  readonly serviceAccount: string;
  readonly port: number;
  /** Default `anyone`. */
  readonly invoker: Invoker;
  /** `host:port` of what stands in for Google's; undefined where it is Google's own. */
  readonly emulators: {
    readonly firestore?: string;
    readonly pubsub?: string;
    readonly storage?: string;
    readonly tasks?: string;
    readonly metadata?: string;
    /** Whose keys the tokens of pushes and ticks are checked with: below `/oauth2/v3/certs`. None: Google's. */
    readonly identity: readonly string[];
  };
}

const emulatorVariables = {
  firestore: 'FIRESTORE_EMULATOR_HOST',
  pubsub: 'PUBSUB_EMULATOR_HOST',
  storage: 'STORAGE_EMULATOR_HOST',
  tasks: 'CLOUD_TASKS_EMULATOR_HOST',
  metadata: 'GCE_METADATA_HOST',
} as const;
/** Several, with commas: what pushes and what runs tasks may sign with keys of their own. */
const identityVariable = 'DORMOUSE_IDENTITY_EMULATOR_HOST';

type Variables = Readonly<Record<string, string | undefined>>;

/** @throws DormouseError `config.setting` that names every variable that is missing or malformed, and what to set */
export function readEnvironment(variables: Variables): GcpEnvironment {
  const problems: string[] = [];
  const read = (name: string, form: RegExp, remedy: string): string => {
    const value = variables[name] ?? '';
    if (value === '') problems.push(`${name} is not set; set it to ${remedy}`);
    else if (!form.test(value)) problems.push(`${name} must be ${remedy}, got "${value}"`);
    return value;
  };
  const environment = {
    project: read('GOOGLE_CLOUD_PROJECT', /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, 'the id of the Google Cloud project'),
    bucket: read('DORMOUSE_BUCKET', /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/, 'the name of the bucket for files'),
    queue: read(
      'DORMOUSE_QUEUE',
      /^projects\/[^/]+\/locations\/[^/]+\/queues\/[^/]+$/,
      'the queue for timers, projects/PROJECT/locations/LOCATION/queues/QUEUE',
    ),
    serviceUrl: read('DORMOUSE_SERVICE_URL', /^https?:\/\/[^/?#\s]+$/, 'the URL of this service, without a path'),
    serviceAccount: read(
      'DORMOUSE_SERVICE_ACCOUNT',
      /^[^@\s]+@[^@\s]+$/,
      'the mail address of the service account that pushes and wakes it',
    ),
    port: Number(read('PORT', /^[1-9]\d{0,4}$/, 'the port to listen on, as Cloud Run does')),
  };
  const { DORMOUSE_INVOKER: invoker = 'anyone' } = variables;
  if (!isInvoker(invoker)) {
    problems.push(
      `DORMOUSE_INVOKER must be "caller", where Cloud Run lets in nobody else, or "anyone", got "${invoker}"`,
    );
  }
  const hostIn = (name: string, value: string): string => {
    // Some of Google's clients want a scheme before it, others refuse it.
    const host = value
      .trim()
      .replace(/^http:\/\//, '')
      .replace(/\/$/, '');
    if (!/^([\w.-]+|\[[\da-f:]+\])(:\d+)?$/i.test(host)) {
      problems.push(`${name} must be host:port of an emulator, got "${value}"; leave it out to reach Google's own`);
    }
    return host;
  };
  const named: Partial<Record<keyof typeof emulatorVariables, string>> = {};
  for (const kind of Object.keys(emulatorVariables) as (keyof typeof emulatorVariables)[]) {
    const name = emulatorVariables[kind];
    const value = variables[name];
    if (value) named[kind] = hostIn(name, value);
  }
  const identities = (variables[identityVariable] ?? '').split(',').filter(Boolean);
  const emulators = { ...named, identity: identities.map((each) => hostIn(identityVariable, each)) };
  if (problems.length > 0) {
    throw new DormouseError('config.setting', `this service cannot run on Google Cloud: ${problems.join('; ')}`);
  }
  return { ...environment, invoker: invoker as Invoker, emulators };
}

function isInvoker(text: string): text is Invoker {
  return text === 'anyone' || text === 'caller';
}
