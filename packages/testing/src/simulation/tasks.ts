import { AsyncLocalStorage } from 'node:async_hooks';
import type { Choices } from './choices.ts';
import type { Faults } from './faults.ts';
import type { Trace } from './trace.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What can be killed: the host, an instance of a service. Whatever runs in it never reaches a point again. */
export class Life {
  readonly name: string;
  /** Runs when it ends. */
  onEnd: () => void = () => {};
  #alive = true;

  constructor(name: string) {
    this.name = name;
  }

  get alive(): boolean {
    return this.#alive;
  }

  end(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.onEnd();
  }
}

/** Something that runs in a life: a delivery, a command, an act of the outside. */
export interface Task {
  /** No other task of the run has it, and it is the same for the same seed. */
  readonly name: string;
  /** For readers of a trace. */
  readonly title: string;
  readonly life: Life;
  /** How many points it has come to. */
  points: number;
  /** At how many it waits now: several, where it does several things at once. */
  waiting: number;
  /** How many random numbers it has drawn. */
  drawn: number;
}

/**
 * For all runs of the process: each storage that was ever run in is an entry of every frame from then on, and each frame is a copy of the one
 * before. With one for each run, the five-thousandth took a third longer.
 */
const current = new AsyncLocalStorage<Task>();

/** Runs work without what its caller carries along: an activity, for instance, is no part of what it brings about elsewhere. */
const fresh = AsyncLocalStorage.snapshot();

/** Never settles. A new one for each who awaits it, so that both are forgotten: one for all would remember all. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/** Real time for work between two points; what takes longer waits for something that is not simulated. */
const computingBoundMs = 20_000;
const slowMs = [1_000, 20_000, 400_000, 700_000];

/**
 * What runs at once, and the points at which it waits. Each call through a port is a point: its task waits there for a
 * drawn while of virtual time, and so tasks overtake each other. Only one goes on at a time, and the next one when
 * everything waits again: so nothing depends on how fast anything computes.
 */
export class Tasks {
  readonly #clock: VirtualClock;
  readonly #choices: Choices;
  readonly #faults: Faults;
  readonly #trace: Trace;
  readonly #running = new Set<Task>();
  /** Grows with everything that happens. */
  #happened = 0;
  /** Strikes what a point lies in, before its task goes on. */
  onPoint: (task: Task, point: string) => void = () => {};
  /** Whether what has no task, as a database's writer, has work. */
  isBusy: () => boolean = () => false;

  constructor(clock: VirtualClock, choices: Choices, faults: Faults, trace: Trace) {
    this.#clock = clock;
    this.#choices = choices;
    this.#faults = faults;
    this.#trace = trace;
  }

  get current(): Task | undefined {
    return current.getStore();
  }

  /** Runs work in a life, as a task of its own. Never settles where the life ends first. */
  start<T>(life: Life, name: string, title: string, work: () => Promise<T>): Promise<T> {
    if (!life.alive) return never();
    const task: Task = { name, title, life, points: 0, waiting: 0, drawn: 0 };
    this.#running.add(task);
    this.#happened++;
    return new Promise((resolve, reject) => {
      const ended = () => {
        this.#running.delete(task);
        this.#happened++;
        return life.alive;
      };
      fresh(() => current.run(task, work)).then(
        (value) => ended() && resolve(value),
        (error) => ended() && reject(error),
      );
    });
  }

  /**
   * The current task waits here. Answers the point's name, for what may happen at it; never, where its life ends.
   * @param slow whether it may be held up for so long that leases expire
   */
  point(what: string, { slow = true }: { readonly slow?: boolean } = {}): Promise<string> {
    const task = this.current;
    if (!task)
      throw new Error(`"${what}" is called by nobody the simulator started; await everything a handler starts`);
    if (!task.life.alive) return never();
    const point = `${task.name} ${++task.points} ${what}`;
    const waitMs = this.#wait(point, task, slow);
    return this.wait(task, waitMs, point).then(() => {
      this.#trace.add(task.life.name, `${task.title}: ${what}`);
      return point;
    });
  }

  /** A task waits so long, and whatever strikes there strikes before it goes on. */
  wait(task: Task, ms: number, point: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    task.waiting++;
    this.#happened++;
    this.#clock.meanwhile(ms, this.#choices.fractionAt('place', point), () => {
      this.#happened++;
      if (task.life.alive) this.onPoint(task, point);
      task.waiting--;
      if (task.life.alive) resolve();
    });
    return promise;
  }

  /** Something that goes on as long as its life: never waited for. */
  background(life: Life, name: string): Task {
    return { name, title: name, life, points: 0, waiting: 0, drawn: 0 };
  }

  /** Runs work as part of a task. */
  as<T>(task: Task, work: () => T): T {
    return current.run(task, work);
  }

  /** Counts as waiting until what it awaits settles: it is for others to bring that about. */
  async idle<T>(awaited: Promise<T>): Promise<T> {
    const task = this.current!;
    task.waiting++;
    this.#happened++;
    try {
      return await awaited;
    } finally {
      task.waiting--;
      this.#happened++;
    }
  }

  /** Until nothing moves but with time. @throws where something waits for what is not simulated */
  async quiet(): Promise<void> {
    let startedAt: number | undefined;
    for (let calm = 0; calm < 2; ) {
      const before = this.#happened;
      await new Promise(setImmediate);
      const computing = this.#computing();
      if (computing || this.isBusy() || this.#happened !== before) calm = 0;
      else calm++;
      if (!computing) continue;
      startedAt ??= performance.now();
      if (performance.now() - startedAt > computingBoundMs) {
        throw new Error(
          `${computing.title} in ${computing.life.name} came to no point of the simulation for ${computingBoundMs / 1000} s: it waits for a real timer, the network or a file; reach the outside through \`outside.call\`, and wait by the clock a handler is given`,
        );
      }
    }
  }

  /** For ids, and for spreading retries: the task's own. */
  draw(): number {
    const task = this.current;
    if (!task) throw new Error('a random number is drawn by nobody the simulator started');
    return this.#choices.fraction(`random ${task.name} ${++task.drawn}`);
  }

  #computing(): Task | undefined {
    for (const task of this.#running) {
      if (!task.life.alive) this.#running.delete(task);
      else if (task.waiting === 0) return task;
    }
    return undefined;
  }

  /** A few milliseconds, seldom long. */
  #wait(point: string, task: Task, slow: boolean): number {
    if (slow && this.#faults.strikes('step.slow', point, task.life.name)) {
      return this.#choices.pick(`length of ${point}`, slowMs);
    }
    return Math.floor(-Math.log(1 - this.#choices.fractionAt('wait', point)) * 4);
  }
}
