import {
  type DeclaredSystem,
  DormouseError,
  deadLetter,
  type Plan,
  planOf,
  type ServiceLimits,
  type SubscriptionPlan,
} from '@dormouse/core';
import { type FirestoreIndexes, firestoreIndexes } from './indexes.ts';
import { accountEmail, googleName, runName } from './names.ts';
import { type Grant, grantsOf } from './permissions.ts';

export interface GooglePlanOptions {
  readonly project: string;
  /** In the addresses of Cloud Run and the names of Google's own agents. */
  readonly projectNumber: string;
  /** Of everything in it that has a place. */
  readonly region: string;
  /** Where a service answers, `{service}` standing for its name. Default: where Cloud Run puts it. */
  readonly serviceUrl?: string | undefined;
  /** How long Pub/Sub keeps what is not settled. Default 31 days, its longest. */
  readonly retentionMs?: number | undefined;
}

/** All that a declared system needs of Google Cloud, as plain data. `docs/plan.md` describes its JSON. */
export interface GooglePlan extends Plan {
  /** Of this form. It grows with a field that is taken away or means something else. */
  readonly version: 1;
  readonly system: string;
  readonly project: string;
  readonly region: string;
  /** To be enabled. */
  readonly apis: readonly string[];
  /** On Cloud Run: those of the system, then its console. */
  readonly services: readonly RunPlan[];
  /** Whose token pushes, tasks and the sweep carry. */
  readonly caller: string;
  readonly firestore: FirestorePlan;
  readonly buckets: readonly BucketPlan[];
  readonly queues: readonly QueuePlan[];
  readonly schedules: readonly SchedulePlan[];
  readonly grants: readonly Grant[];
  /** What the declarations do not tell, and a person must. */
  readonly unknown: readonly string[];
}

export interface RunPlan {
  /** As the system calls it, or `console`. */
  readonly service: string;
  /** On Cloud Run. */
  readonly name: string;
  readonly url: string;
  /** Whom it runs as. */
  readonly account: string;
  /** False where it is another command, which lives by the wire alone. */
  readonly dormouse: boolean;
  /** Who is let in by Cloud Run: the caller's token, or anyone, where the service asks for tokens of its own. */
  readonly invoker: 'caller' | 'anyone';
  readonly ingress: 'internal' | 'all';
  /** Addresses besides Cloud Run's own for which it takes tokens. */
  readonly customAudiences: readonly string[];
  /** The ack deadline of what is pushed to it and a minute, since a step is committed, and what it publishes sent, after its deadline. */
  readonly timeoutSeconds: number;
  readonly concurrency: number;
  readonly minInstances: 0;
  readonly maxInstances: number;
  readonly cpu: '1';
  readonly memory: '512Mi';
  /** What Dormouse reads; Cloud Run itself sets PORT. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface FirestorePlan {
  readonly database: '(default)';
  readonly mode: 'FIRESTORE_NATIVE';
  readonly location: string;
  /** False: it would keep for seven days what was erased. */
  readonly pointInTimeRecovery: false;
  readonly indexes: FirestoreIndexes;
}

export interface BucketPlan {
  readonly name: string;
  readonly location: string;
  readonly uniformBucketLevelAccess: true;
  readonly publicAccessPrevention: 'enforced';
  /** Google's default of seven days would keep what was erased. */
  readonly softDeleteSeconds: 0;
  readonly versioning: false;
}

export interface QueuePlan {
  readonly name: string;
  readonly location: string;
  /** Without end; what is late is found by the sweep as well. */
  readonly maxAttempts: -1;
  readonly minBackoff: string;
  readonly maxBackoff: string;
}

export interface SchedulePlan {
  readonly name: string;
  readonly location: string;
  /** In cron's form, UTC. */
  readonly schedule: string;
  readonly method: 'POST';
  readonly url: string;
  readonly account: string;
  readonly audience: string;
}

const console = 'console';
const longestAckDeadlineSeconds = 600;
/** For commit and publish, with their retries. */
const settlingSeconds = 60;
/** Of Cloud Run. */
const longestTimeoutSeconds = 3_600;

/** A system with how its services are to be scaled. */
export interface DeclaredDeployment extends DeclaredSystem {
  readonly services: readonly (DeclaredSystem['services'][number] & { readonly limits: ServiceLimits })[];
}

/** @throws DormouseError `config.duplicate` where two of its services would have one name on Google */
export function googlePlanOf(declared: DeclaredDeployment, options: GooglePlanOptions): GooglePlan {
  const { system } = declared;
  const { project, projectNumber, region } = options;
  const { serviceUrl = `https://{service}-${projectNumber}.${region}.run.app` } = options;
  const caller = accountEmail(project, system, 'caller');
  const urlOf = (service: string) => serviceUrl.replaceAll('{service}', runName(system, service));
  const wire = planOf(declared, {
    retentionMs: options.retentionMs,
    pushOf: (service) => ({
      pushEndpoint: `${urlOf(service)}/pubsub-push`,
      oidcToken: { serviceAccountEmail: caller, audience: urlOf(service) },
    }),
  });
  // Of all of Google's buckets none may have the same name.
  const bucket = `${project}-${googleName(32, system, 'files')}`;
  const queue = googleName(100, system, 'timers');

  // The console asks for tokens of its own.
  const invokerOf = (service: string) => (service === console ? 'anyone' : 'caller');
  const environmentOf = (service: string) => ({
    DORMOUSE_PLATFORM: 'gcp',
    GOOGLE_CLOUD_PROJECT: project,
    DORMOUSE_BUCKET: bucket,
    DORMOUSE_QUEUE: `projects/${project}/locations/${region}/queues/${queue}`,
    DORMOUSE_SERVICE_URL: urlOf(service),
    DORMOUSE_SERVICE_ACCOUNT: caller,
    DORMOUSE_INVOKER: invokerOf(service),
  });
  const run = (service: string, dormouse: boolean, { concurrency, maxInstances }: ServiceLimits): RunPlan => ({
    service,
    name: runName(system, service),
    url: urlOf(service),
    account: accountEmail(project, system, service),
    dormouse,
    invoker: invokerOf(service),
    // Pushes, tasks and the sweep of the same project come from inside, to Cloud Run's own addresses.
    ingress: service === console || options.serviceUrl !== undefined ? 'all' : 'internal',
    customAudiences: isOfCloudRun(urlOf(service)) ? [] : [urlOf(service)],
    timeoutSeconds: timeoutOf(wire.subscriptions.filter((each) => each.service === service)),
    concurrency,
    minInstances: 0,
    maxInstances,
    cpu: '1',
    memory: '512Mi',
    environment: dormouse ? environmentOf(service) : { GOOGLE_CLOUD_PROJECT: project },
  });
  const services = [
    ...declared.services.map(({ name, limits, subscriptions }) =>
      run(
        name,
        subscriptions.every(({ dormouse }) => dormouse),
        limits,
      ),
    ),
    run(console, true, { concurrency: 80, maxInstances: 4 }),
  ];
  refuseDuplicates(system, services, caller);

  const plan = {
    version: 1,
    system,
    project,
    region,
    apis: ['run', 'pubsub', 'firestore', 'storage', 'cloudtasks', 'cloudscheduler', 'iam'].map(
      (name) => `${name}.googleapis.com`,
    ),
    ...wire,
    services,
    caller,
    firestore: {
      database: '(default)',
      mode: 'FIRESTORE_NATIVE',
      location: region,
      pointInTimeRecovery: false,
      indexes: firestoreIndexes(),
    },
    buckets: [
      {
        name: bucket,
        location: region,
        uniformBucketLevelAccess: true,
        publicAccessPrevention: 'enforced',
        softDeleteSeconds: 0,
        versioning: false,
      },
    ],
    queues: [{ name: queue, location: region, maxAttempts: -1, minBackoff: '1s', maxBackoff: '600s' }],
    schedules: [
      {
        name: googleName(100, system, 'sweep'),
        location: region,
        schedule: '*/5 * * * *',
        method: 'POST',
        url: `${urlOf(console)}/tick`,
        account: caller,
        audience: urlOf(console),
      },
    ],
  } as const satisfies Omit<GooglePlan, 'grants' | 'unknown'>;
  return { ...plan, grants: grantsOf(plan, projectNumber), unknown: unknownOf(plan) };
}

/** Of which it takes tokens without being told. Source: cloud.google.com/run/docs/configuring/custom-audiences. */
function isOfCloudRun(url: string): boolean {
  return new URL(url).hostname.endsWith('.run.app');
}

function timeoutOf(subscriptions: readonly SubscriptionPlan[]): number {
  const deadlines = subscriptions.map(({ ackDeadlineSeconds }) => ackDeadlineSeconds);
  const longest = deadlines.length === 0 ? longestAckDeadlineSeconds : Math.max(...deadlines);
  return Math.min(longestTimeoutSeconds, longest + settlingSeconds);
}

function refuseDuplicates(system: string, services: readonly RunPlan[], caller: string): void {
  const taken = new Map([[caller, 'who calls the services']]);
  for (const { service, account, name } of services) {
    const other = taken.get(account) ?? taken.get(name);
    if (other !== undefined) {
      throw new DormouseError(
        'config.duplicate',
        `system "${system}": service "${service}" and ${other} would both be "${name}" on Google Cloud; rename the service`,
      );
    }
    taken.set(account, `service "${service}"`).set(name, `service "${service}"`);
  }
}

function unknownOf({
  services,
  subscriptions,
  caller,
}: Pick<GooglePlan, 'services' | 'subscriptions' | 'caller'>): string[] {
  const foreign = services.filter(({ dormouse }) => !dormouse);
  const isNet = subscriptions.some(({ topic }) => topic === deadLetter.name);
  return [
    'which topics a handler publishes to is not declared; every service may publish to all, since each also sends what others left unsent',
    "the services' own settings: the environment variables that their code reads",
    'the images of the services',
    'whether another system is in the project: one system a project, since two would share the database (default) with its outbox and timers, and topics of the same name',
    'the first token of the console, a secret in its environment: DORMOUSE_ADMIN_TOKEN',
    `who provisions: roles/pubsub.editor on the project, roles/iam.serviceAccountUser on ${caller}`,
    ...foreign.map(
      ({ service, account }) =>
        `service "${service}" is another command: whatever it reaches of Google's, ${account} must be granted`,
    ),
    ...(isNet
      ? []
      : [
          `nobody listens to ${deadLetter.name}: what the wire cannot deliver is brought again until Pub/Sub keeps it no longer`,
        ]),
  ];
}
