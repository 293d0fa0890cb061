import { request as httpRequest } from 'node:http';
import { type Clock, randomId, systemRandom } from '@dormouse/core';
import { ApiRefusal, ApiServer } from './api-server.ts';
import type { SeenRequest } from './ordered-faults.ts';

export interface TasksServerOptions {
  /** By which tasks are due. Google's own: whoever sets a service's clock does not set this one. */
  readonly clock: Clock;
  /** Signs the requests of tasks that ask for it: a `MetadataServer`. Default: they go without a token. */
  readonly signer?: {
    authorize(
      oidcToken: { readonly serviceAccountEmail: string; readonly audience?: string },
      url: string,
    ): Promise<string>;
  };
  /** Whether a caller may. Default: everyone. */
  readonly admits?: (authorization: string | undefined) => boolean;
}

/** As google.cloud.tasks.v2 has them; times of queues in milliseconds. */
interface Queue {
  readonly name: string;
  state: 'RUNNING' | 'PAUSED';
  readonly maxAttempts: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly maxDoublings: number;
}

interface HttpTarget {
  readonly url: string;
  readonly httpMethod?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly oidcToken?: { readonly serviceAccountEmail: string; readonly audience?: string };
}

interface Task {
  readonly name: string;
  readonly queue: Queue;
  readonly httpRequest: HttpTarget;
  readonly createTime: string;
  /** Of its next attempt. */
  scheduleTime: string;
  dispatchCount: number;
  responseCount: number;
  isDispatched: boolean;
  cancel: () => void;
}

/** What became of an attempt. */
export interface Dispatched {
  readonly task: string;
  readonly at: number;
  /** 0 where nobody answered. */
  readonly status: number;
}

/** Source: cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create: up to four hours. */
const nameUsedUpMs = 4 * 3_600_000;
/** Source: cloud.google.com/tasks/docs/quotas. */
const furthestMs = 30 * 86_400_000;
const dispatchDeadlineMs = 600_000;

/**
 * Cloud Tasks, as far as HTTP tasks go: names are taken once, a task is dispatched at its time by the clock that is given, again
 * after a backoff until it is answered with 2xx, and its name stays used up for hours.
 * Source: google/cloud/tasks/v2/cloudtasks.proto, queue.proto, task.proto.
 */
export class TasksServer extends ApiServer {
  /** Every attempt, in their order. */
  readonly dispatched: Dispatched[] = [];
  readonly #options: TasksServerOptions;
  readonly #queues = new Map<string, Queue>();
  readonly #tasks = new Map<string, Task>();
  /** By name: when each ended. */
  readonly #usedUp = new Map<string, number>();
  #inFlight = 0;
  #stopped = false;

  private constructor(options: TasksServerOptions) {
    super((request) => this.#answer(request));
    this.#options = options;
  }

  static start(options: TasksServerOptions): Promise<TasksServer> {
    return new TasksServer(options).listen();
  }

  /** Requests of tasks that have not been answered, or leave at once. */
  get inFlight(): number {
    const now = this.#options.clock.now();
    const isLeaving = ({ queue, isDispatched, scheduleTime }: Task) =>
      queue.state === 'RUNNING' && !isDispatched && Date.parse(scheduleTime) <= now;
    return this.#inFlight + [...this.#tasks.values()].filter(isLeaving).length;
  }

  /** Tasks that wait, by the times of their next attempts. */
  get waiting(): readonly { readonly name: string; readonly at: number }[] {
    return [...this.#tasks.values()]
      .map(({ name, scheduleTime }) => ({ name, at: Date.parse(scheduleTime) }))
      .toSorted((one, other) => one.at - other.at);
  }

  /** As by `queues.create`. @param name `projects/P/locations/L/queues/Q` */
  createQueue(name: string, retry: Partial<Omit<Queue, 'name' | 'state'>> = {}): void {
    const defaults = { maxAttempts: 100, minBackoffMs: 100, maxBackoffMs: 3_600_000, maxDoublings: 16 };
    this.#queues.set(name, { name, state: 'RUNNING', ...defaults, ...retry });
  }

  async #answer(request: SeenRequest) {
    const { admits = () => true } = this.#options;
    if (!admits(request.headers.authorization as string | undefined)) {
      throw new ApiRefusal(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    }
    const { pathname, searchParams } = new URL(request.path, this.url);
    const path = decodeURIComponent(pathname).replace(/^\/v2\//, '');
    const body = () => JSON.parse(request.body.toString() || '{}');
    const [, queueName, taskId, verb] =
      /^(projects\/[^/]+\/locations\/[^/]+\/queues\/[^/:]+)(?:\/tasks(?:\/([^/:]+))?)?(?::(\w+))?$/.exec(path) ?? [];
    if (request.method === 'POST' && /\/queues$/.test(path)) return { json: this.#addQueue(body()) };
    if (queueName === undefined) throw new ApiRefusal(404, 'NOT_FOUND', `The requested URL ${pathname} was not found.`);
    const queue = this.#queues.get(queueName);
    if (!queue) throw new ApiRefusal(404, 'NOT_FOUND', 'Queue does not exist.');
    const kind = taskId !== undefined ? 'task' : /\/tasks$/.test(path) ? 'tasks' : 'queue';
    const what = `${request.method} ${kind}${verb ? `:${verb}` : ''}`;
    const task = () => this.#found(`${queueName}/tasks/${taskId}`);
    switch (what) {
      case 'GET queue':
        return { json: described(queue) };
      case 'POST queue:pause':
      case 'POST queue:resume':
        queue.state = verb === 'pause' ? 'PAUSED' : 'RUNNING';
        if (verb === 'resume') for (const each of this.#tasks.values()) this.#schedule(each);
        return { json: described(queue) };
      case 'POST queue:purge':
        for (const each of [...this.#tasks.values()]) if (each.queue === queue) this.#end(each);
        return { json: described(queue) };
      case 'POST tasks':
        return { json: shown(this.#create(queue, body().task)) };
      case 'GET tasks': {
        const size = Number(searchParams.get('pageSize') ?? 1000);
        const all = [...this.#tasks.values()].filter((each) => each.queue === queue);
        const from = Number(searchParams.get('pageToken') ?? 0);
        const more = all.length > from + size ? { nextPageToken: String(from + size) } : {};
        return { json: { tasks: all.slice(from, from + size).map(shown), ...more } };
      }
      case 'GET task':
        return { json: shown(task()) };
      case 'DELETE task':
        this.#end(task());
        return { json: {} };
      case 'POST task:run':
        void this.#dispatch(task());
        return { json: shown(task()) };
      default:
        throw new ApiRefusal(404, 'NOT_FOUND', `there is no ${what}`);
    }
  }

  #addQueue({ name }: { readonly name: string }) {
    if (this.#queues.has(name)) throw new ApiRefusal(409, 'ALREADY_EXISTS', 'Queue already exists');
    this.createQueue(name);
    return described(this.#queues.get(name)!);
  }

  #found(name: string): Task {
    const task = this.#tasks.get(name);
    if (!task) throw new ApiRefusal(404, 'NOT_FOUND', 'The task does not exist.');
    return task;
  }

  #create(queue: Queue, wanted: { name?: string; scheduleTime?: string; httpRequest?: HttpTarget }): Task {
    const now = this.#options.clock.now();
    const { name = `${queue.name}/tasks/${randomId(systemRandom)}`, httpRequest, scheduleTime } = wanted;
    const invalid = (why: string) => new ApiRefusal(400, 'INVALID_ARGUMENT', why);
    if (!/^[\w-]{1,500}$/.test(name.slice(`${queue.name}/tasks/`.length)))
      throw invalid(`Task name ${name} is not valid.`);
    if (!httpRequest || !/^https?:\/\//.test(httpRequest.url)) throw invalid('HttpRequest.url is required.');
    const at = scheduleTime === undefined ? now : Date.parse(scheduleTime);
    if (at > now + furthestMs) throw invalid('Task.scheduleTime is too far in the future. It must be at most 30 days.');
    if (this.#tasks.has(name)) throw new ApiRefusal(409, 'ALREADY_EXISTS', 'Requested entity already exists');
    if ((this.#usedUp.get(name) ?? Number.NEGATIVE_INFINITY) + nameUsedUpMs > now) {
      const why = 'The task cannot be created because a task with this name existed too recently.';
      throw new ApiRefusal(409, 'ALREADY_EXISTS', why);
    }
    const task: Task = {
      name,
      queue,
      httpRequest,
      createTime: new Date(now).toISOString(),
      scheduleTime: new Date(Math.max(at, now)).toISOString(),
      dispatchCount: 0,
      responseCount: 0,
      isDispatched: false,
      cancel: () => {},
    };
    this.#tasks.set(name, task);
    this.#schedule(task);
    return task;
  }

  #schedule(task: Task): void {
    task.cancel();
    if (this.#stopped || task.isDispatched || task.queue.state === 'PAUSED') return;
    const { clock } = this.#options;
    const at = Date.parse(task.scheduleTime);
    if (at <= clock.now()) setImmediate(() => void this.#dispatch(task));
    else task.cancel = clock.at(at, () => void this.#dispatch(task));
  }

  async #dispatch(task: Task): Promise<void> {
    if (this.#stopped || task.isDispatched || this.#tasks.get(task.name) !== task) return;
    const { clock } = this.#options;
    task.cancel();
    task.isDispatched = true;
    task.dispatchCount++;
    this.#inFlight++;
    const status = await this.#request(task).catch(() => 0);
    this.dispatched.push({ task: task.name, at: clock.now(), status });
    this.#inFlight--;
    task.isDispatched = false;
    if (status !== 0) task.responseCount++;
    const { maxAttempts, minBackoffMs, maxBackoffMs, maxDoublings } = task.queue;
    if ((status >= 200 && status < 300) || (maxAttempts !== -1 && task.dispatchCount >= maxAttempts)) {
      if (this.#tasks.get(task.name) === task) this.#end(task);
      return;
    }
    const doubled = minBackoffMs * 2 ** Math.min(task.dispatchCount - 1, maxDoublings);
    task.scheduleTime = new Date(clock.now() + Math.min(maxBackoffMs, doubled)).toISOString();
    this.#schedule(task);
  }

  async #request({
    name,
    queue,
    httpRequest: target,
    scheduleTime,
    dispatchCount,
    responseCount,
  }: Task): Promise<number> {
    const { url, httpMethod = 'POST', headers, body = '', oidcToken } = target;
    const authorization = oidcToken && (await this.#options.signer?.authorize(oidcToken, url));
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        url,
        {
          method: httpMethod,
          agent: false,
          headers: {
            'content-type': 'application/octet-stream',
            ...headers,
            ...(authorization && { authorization }),
            'user-agent': 'Google-Cloud-Tasks',
            'x-cloudtasks-queuename': queue.name.slice(queue.name.lastIndexOf('/') + 1),
            'x-cloudtasks-taskname': name.slice(name.lastIndexOf('/') + 1),
            'x-cloudtasks-taskretrycount': String(dispatchCount - 1),
            'x-cloudtasks-taskexecutioncount': String(responseCount),
            'x-cloudtasks-tasketa': String(Date.parse(scheduleTime) / 1000),
          },
        },
        (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
          response.on('error', reject);
        },
      );
      outgoing.setTimeout(dispatchDeadlineMs, () => outgoing.destroy(new Error('the dispatch deadline has passed')));
      outgoing.on('error', reject);
      outgoing.end(Buffer.from(body, 'base64'));
    });
  }

  #end(task: Task): void {
    task.cancel();
    this.#tasks.delete(task.name);
    this.#usedUp.set(task.name, this.#options.clock.now());
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    for (const task of this.#tasks.values()) task.cancel();
    await super[Symbol.asyncDispose]();
  }
}

function described({ name, state, maxAttempts, minBackoffMs, maxBackoffMs, maxDoublings }: Queue) {
  const seconds = (ms: number) => `${ms / 1000}s`;
  const retryConfig = {
    maxAttempts,
    minBackoff: seconds(minBackoffMs),
    maxBackoff: seconds(maxBackoffMs),
    maxDoublings,
  };
  return { name, state, retryConfig };
}

/** The basic view: without the body. */
function shown({ name, httpRequest, createTime, scheduleTime, dispatchCount, responseCount }: Task) {
  const { body: _, ...target } = httpRequest;
  return {
    name,
    httpRequest: target,
    createTime,
    scheduleTime,
    dispatchDeadline: `${dispatchDeadlineMs / 1000}s`,
    ...(dispatchCount > 0 && { dispatchCount }),
    ...(responseCount > 0 && { responseCount }),
    view: 'BASIC',
  };
}
