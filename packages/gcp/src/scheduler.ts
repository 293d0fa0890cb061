import { type Clock, causeOf, derivedId, type Logger, strandedAfterMs, type Waker } from '@dormouse/core';
import { GoogleError } from './google-error.ts';
import type { GoogleRest } from './google-rest.ts';

export const tasksUrl = 'https://cloudtasks.googleapis.com';

export interface TaskSchedulerOptions {
  readonly rest: GoogleRest;
  /** `projects/P/locations/L/queues/Q` */
  readonly queue: string;
  /** Of the service, where its tasks go: to `/tick` below it. Also the audience of their tokens. */
  readonly serviceUrl: string;
  /** Email of the service account whose tokens they bear. */
  readonly serviceAccount: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a task says to the service. */
export interface TickBody {
  /** The time that has come, epoch milliseconds. */
  readonly at: number;
}

const hourMs = 3_600_000;
/** Source: cloud.google.com/tasks/docs/quotas: 30 days ahead at most. An hour less, since clocks differ. */
const furthestMs = (30 * 24 - 1) * hourMs;
/** Each later one waits twice as long as the one before: 2,048 s in all. */
const maxNames = 12;

/**
 * Has a service woken when a timer is due: by a task of Cloud Tasks for each second in which one is, named by it, so that however
 * many ask for it make one. The task makes `POST /tick` (`core/src/scheduler.ts`). What is due later than a task can be is looked
 * at again in a month.
 *
 * A name is used up for hours once its task has run or was deleted (up to four, says Google; nine days in old queues). So where a
 * task of the name was there, it is asked whether it still waits; if not the next name is taken, with a later time: twice as far
 * ahead with each, so that clocks that differ make a few tasks and no endless row of them.
 * Source: cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create.
 */
export class TaskScheduler implements Waker {
  readonly #options: TaskSchedulerOptions;

  constructor(options: TaskSchedulerOptions) {
    this.#options = options;
  }

  async wake(at: number): Promise<void> {
    const { clock, log } = this.#options;
    try {
      const now = clock.now();
      // A link of a chain is shared by all that is due later.
      const time = at - now < furthestMs ? Math.max(at, now) : Math.floor((now + furthestMs) / hourMs) * hourMs;
      await this.#ensureTask(Math.ceil(time / 1000));
    } catch (error) {
      log.error('timer.unscheduled', { at: new Date(at).toISOString(), cause: causeOf(error) });
    }
  }

  /** Also the second in which what was committed now counts as stranded. */
  expectSent(): Promise<void> {
    return this.wake(this.#options.clock.now() + strandedAfterMs + 1000);
  }

  async #ensureTask(second: number): Promise<void> {
    for (let names = 0; names < maxNames; names++) {
      const name = this.#name(second, names);
      if (await this.#create(name, second + (names === 0 ? 0 : 2 ** (names - 1)))) return;
      if (await this.#waits(name)) return;
    }
    throw new Error(`all ${maxNames} names for the task of second ${second} are used up`);
  }

  /** False where there is one of that name, or was lately. */
  async #create(name: string, second: number): Promise<boolean> {
    const { rest, queue, serviceUrl, serviceAccount } = this.#options;
    const body: TickBody = { at: second * 1000 };
    const httpRequest = {
      httpMethod: 'POST',
      url: new URL('/tick', serviceUrl).href,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)).toString('base64'),
      oidcToken: { serviceAccountEmail: serviceAccount, audience: serviceUrl },
    };
    const { status } = await rest.request({
      method: 'POST',
      path: `/v2/${queue}/tasks`,
      json: { task: { name, scheduleTime: new Date(second * 1000).toISOString(), httpRequest } },
      answers: [409],
    });
    return status !== 409;
  }

  /** Whether it has not begun: one that runs may have looked already. */
  async #waits(name: string): Promise<boolean> {
    try {
      const { dispatchCount = 0 } = await this.#options.rest.json<{ dispatchCount?: number }>({
        method: 'GET',
        path: `/v2/${name}`,
      });
      return dispatchCount === 0;
    } catch (error) {
      if (error instanceof GoogleError && error.status === 'NOT_FOUND') return false;
      throw error;
    }
  }

  /** It begins with a hash: names that are alike at the beginning slow a queue down. */
  #name(second: number, names: number): string {
    const { queue, serviceUrl } = this.#options;
    return `${queue}/tasks/${derivedId(serviceUrl, second, names)}-${second}-${names}`;
  }
}
