import type { Database } from '@dormouse/broker';
import {
  type Actor,
  collectionOf,
  type Delivery,
  DormouseError,
  defaultTenant,
  durationMs,
  type Entry,
  idOf,
  type Logger,
  opened,
  runCommand,
  sha256,
} from '@dormouse/core';
import { Choices } from './choices.ts';
import { type Databases, giveBack, takeDatabases } from './database-pool.ts';
import { type FaultSettings, Faults, type Struck } from './faults.ts';
import { historyOf } from './history.ts';
import { builtIn } from './invariants/built-in.ts';
import type { LoadedSystem } from './loaded-system.ts';
import { OutsideCalls } from './outside-calls.ts';
import { simulatedFetch } from './simulated-fetch.ts';
import { SimulatedHost, type SimulatedHostOptions, type Topology } from './simulated-host.ts';
import type {
  Act,
  CommandAnswer,
  CommandCall,
  Documents,
  Facts,
  Invariant,
  Simulation,
  StoredDocument,
  World,
} from './simulation.ts';
import { Life, type Task, Tasks } from './tasks.ts';
import { Trace } from './trace.ts';
import { VirtualClock } from './virtual-clock.ts';
import { Witness } from './witness.ts';

export interface RunOptions extends FaultSettings {
  readonly system: LoadedSystem;
  readonly simulation: Simulation<unknown>;
  readonly seed: number;
  /** Default: apart. */
  readonly topology?: Topology | undefined;
  /** Acts that are left out. */
  readonly without?: ReadonlySet<string>;
  /** Default false: it costs a third more time. */
  readonly traced?: boolean;
}

/** What became of one run. */
export interface RunResult {
  readonly seed: number;
  /** Empty where all holds. */
  readonly violations: readonly Violation[];
  readonly struck: readonly Struck[];
  readonly acts: readonly string[];
  readonly trace: readonly string[];
  /** Calls through ports. */
  readonly points: number;
  /** Of virtual time. */
  readonly lastedMs: number;
}

export interface Violation {
  readonly invariant: string;
  readonly problem: string;
}

const beginsAt = Date.UTC(2026, 0, 1);
const mostPoints = 50_000;
const horizonMs = 5 * 365 * 86_400_000;
const downMs = [100, 5_000, 60_000, 1_800_000];
const brokerDownMs = [100, 5_000, 60_000, 300_000];
const unavailableMs = [50, 2_000, 30_000, 300_000];
const clockMs = [1_000, 60_000, 3_600_000, 2 * 86_400_000];
const clientPauseMs = 2_000;
const mostMends = 10;
const administrator: Actor = { name: 'simulation', role: 'admin', tenant: defaultTenant };

/** Runs a system once, from its seed. */
export async function runOnce(options: RunOptions): Promise<RunResult> {
  const run = new Run(options);
  try {
    return await run.play();
  } finally {
    await run.close();
  }
}

class Run implements World {
  readonly seed: number;
  readonly clock = new VirtualClock(beginsAt);
  readonly chance: Choices;
  readonly outside: OutsideCalls;
  readonly #options: RunOptions;
  readonly #trace: Trace;
  readonly #faults: Faults;
  readonly #tasks: Tasks;
  readonly #witness = new Witness();
  readonly #databases: Databases;
  readonly #hostOptions: SimulatedHostOptions;
  /** Clients, operators, counterparties: whoever nothing can kill. */
  readonly #others = new Life('outside');
  readonly #violations: Violation[] = [];
  #host: SimulatedHost | undefined;
  #boots = 0;
  #points = 0;
  /** Until when they answer nothing. */
  readonly #outages = { store: 0, broker: 0 };
  #record: unknown;
  readonly #ends: (() => void)[] = [];

  constructor(options: RunOptions) {
    const { seed, system, simulation, traced = false, topology = 'apart' } = options;
    this.seed = seed;
    this.#options = options;
    this.chance = new Choices(seed);
    this.#trace = new Trace(traced, this.clock.steady);
    this.#faults = new Faults(this.chance, this.#trace, options);
    this.#tasks = new Tasks(this.clock, this.chance, this.#faults, this.#trace);
    this.#tasks.onPoint = (task, point) => this.#strike(task, point);
    this.#databases = takeDatabases(system, topology);
    const { store, broker } = this.#databases;
    this.#tasks.isBusy = () => !store.isIdle || !broker.isIdle;
    this.outside = new OutsideCalls(this.#tasks, this.#faults, this.#others, this.#witness);
    this.#hostOptions = {
      system,
      database: store,
      brokerDatabase: broker,
      tasks: this.#tasks,
      clock: this.clock,
      choices: this.chance,
      faults: this.#faults,
      witness: this.#witness,
      log: this.#logger(),
      answers: (what) =>
        this.clock.steady() >= this.#outages[what] && (what === 'store' || (this.#host?.hasBroker ?? false)),
      files: new Map(),
      counts: new Map(),
      foreign: async (service: string, delivery: Delivery) => {
        await simulation.foreign?.[service]?.(delivery, this);
      },
    };
  }

  async play(): Promise<RunResult> {
    const { system, simulation, without = new Set() } = this.#options;
    this.#record = simulation.outside?.(this);
    if (simulation.fetch) {
      const { fetch: answer } = simulation;
      const { fetch: real } = globalThis;
      this.onEnd(() => {
        globalThis.fetch = real;
      });
      globalThis.fetch = simulatedFetch(this.outside, (request) => answer(request, this.#record, this));
    }
    const acts = simulation.acts(this, this.#record);
    this.#host = new SimulatedHost(`host-${++this.#boots}`, this.#hostOptions);
    if (!this.#databases.isProvisioned) {
      await this.#host.provision(system);
      for (const each of this.#databases.reused) each.keep();
      this.#databases.isProvisioned = true;
    }
    this.#host.start();
    for (const act of acts) if (!without.has(act.name)) this.#begin(act);
    const faultsForMs = durationMs(simulation.faultsFor ?? '1d', 'simulation: faultsFor');
    try {
      await this.#runUntil(faultsForMs);
      this.#trace.add('simulation', 'from here on all goes well');
      this.#faults.end();
      this.#outages.store = this.#outages.broker = 0;
      await this.#runUntil(horizonMs);
      for (let round = 1; simulation.mend && this.#violations.length === 0 && round <= mostMends; round++) {
        const before = this.#points;
        const facts = this.#facts();
        void this.#act({ name: `mends ${round}`, run: () => simulation.mend!(this, facts) });
        await this.#runUntil(horizonMs);
        if (this.#points === before) break;
      }
    } catch (error) {
      this.#violate('the simulation goes on', (error as Error).message);
    }
    if (this.#violations.length === 0) await this.#check();
    return {
      seed: this.seed,
      violations: this.#violations,
      struck: this.#faults.struck,
      acts: acts.map(({ name }) => name),
      trace: this.#trace.lines,
      points: this.#points,
      lastedMs: this.clock.steady(),
    };
  }

  async close(): Promise<void> {
    for (const end of this.#ends) end();
    this.#host?.end();
    const { system, topology = 'apart' } = this.#options;
    await giveBack(this.#databases, system, topology);
  }

  readonly command = async (name: string, request: CommandCall = {}): Promise<CommandAnswer> => {
    const key = this.#keyOf(name);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#ask(name, request, key);
      } catch {
        const task = this.#tasks.current!;
        await this.#tasks.wait(task, clientPauseMs * Math.min(attempt, 30), `${key} asks again ${attempt}`);
      }
    }
  };

  readonly tryCommand = (name: string, request: CommandCall = {}): Promise<CommandAnswer> =>
    this.#ask(name, request, this.#keyOf(name));

  readonly onEnd = (callback: () => void): void => {
    this.#ends.push(callback);
  };

  readonly note = (text: string): void => {
    this.#trace.add(this.#tasks.current?.life.name ?? 'simulation', text);
  };

  #keyOf(name: string): string {
    const task = this.#tasks.current;
    if (!task)
      throw new Error(`the command "${name}" is given by nobody; give it in an act, or where the outside is called`);
    return `${task.name} ${++task.drawn} ${name}`;
  }

  /** @throws where nobody answers, or the answer is that it may be asked again */
  async #ask(
    name: string,
    { body, params = {}, headers = {}, as = administrator }: CommandCall,
    key: string,
  ): Promise<CommandAnswer> {
    const { system } = this.#options;
    const definition = system.commands.get(name);
    if (!definition) {
      const known = [...system.commands.keys()].join(', ');
      throw new Error(`system "${system.manifest.system}" has no command "${name}"; it has ${known || 'none'}`);
    }
    const point = await this.#tasks.point(`asks for ${name}`);
    const host = this.#host;
    if (!host) throw new Error('the host is down');
    const request = {
      headers: new Headers({ 'idempotency-key': sha256(key), ...headers }),
      params,
      body: typeof body === 'string' ? body : JSON.stringify(body ?? {}),
    };
    const answered = this.#tasks.start(host.life, point, `command ${name}`, async (): Promise<CommandAnswer> => {
      try {
        const output = await runCommand(definition, request, as, system.manifest.system, host.ports);
        await this.#tasks.point(`answers ${name}`);
        return { ok: true, output };
      } catch (error) {
        await this.#tasks.point(`answers ${name}: ${(error as Error).message}`);
        if (!(error instanceof DormouseError) || passes.has(error.code)) throw error;
        return { ok: false, refused: error };
      }
    });
    const answer = await this.#tasks.idle(Promise.race([answered, host.gone]));
    if (this.#faults.strikes('command.answer-lost', point, this.#others.name)) throw new Error('the answer was lost');
    return answer;
  }

  #begin(act: Act): void {
    this.clock.after(durationMs(act.after ?? '0s', `act "${act.name}": after`), () => void this.#act(act));
  }

  async #act({ name, run }: Act): Promise<void> {
    try {
      await this.#tasks.start(this.#others, name, name, run);
    } catch (error) {
      this.#violate(`the act "${name}" is done`, (error as Error).stack ?? String(error));
    }
  }

  /** Until so much time has passed, or nothing is to come. */
  async #runUntil(steadyMs: number): Promise<void> {
    for (;;) {
      await this.#tasks.quiet();
      if (this.#violations.length > 0) return;
      const next = this.clock.next;
      if (next === undefined || next > steadyMs) return;
      this.clock.step();
      if (this.#points > mostPoints) throw new Error(`it does not come to rest: ${mostPoints} calls were made`);
    }
  }

  #strike(task: Task, point: string): void {
    this.#points++;
    const { life } = task;
    const strikes = (name: Parameters<Faults['strikes']>[0]) => this.#faults.strikes(name, point, life.name);
    if (life !== this.#others && life !== this.#host?.life && strikes('instance.killed')) life.end();
    if (this.#host && strikes('host.killed')) this.#restart(point);
    if (this.#host?.hasBroker && this.#isApart && strikes('broker.killed')) this.#restartBroker(this.#host, point);
    for (const what of ['store', 'broker'] as const) {
      if (this.clock.steady() < this.#outages[what] || !strikes(`${what}.unavailable`)) continue;
      this.#outages[what] = this.clock.steady() + this.chance.pick(`outage of ${what} at ${point}`, unavailableMs);
    }
    for (const [name, sign] of [
      ['clock.forward', 1],
      ['clock.back', -1],
    ] as const) {
      if (strikes(name)) this.clock.set(sign * this.chance.pick(`${name} at ${point}`, clockMs));
    }
  }

  #restart(point: string): void {
    this.#host!.end();
    this.#host = undefined;
    this.clock.after(this.chance.pick(`downtime at ${point}`, downMs), () => {
      this.#host = new SimulatedHost(`host-${++this.#boots}`, this.#hostOptions);
      this.#trace.add(this.#host.life.name, 'starts');
      this.#host.start();
    });
  }

  #restartBroker(host: SimulatedHost, point: string): void {
    host.endBroker();
    this.clock.after(this.chance.pick(`downtime of the broker at ${point}`, brokerDownMs), () => {
      // A host that died meanwhile came with another.
      if (host !== this.#host) return;
      host.startBroker();
      this.#trace.add(host.life.name, 'starts its broker');
    });
  }

  get #isApart(): boolean {
    return this.#databases.store !== this.#databases.broker;
  }

  async #check(): Promise<void> {
    const facts = this.#facts();
    const { system, simulation } = this.#options;
    const { broker, store } = this.#host!;
    const unsent = await store.unsent({});
    const { store: database, broker: brokerDatabase } = this.#databases;
    const witness = this.#witness;
    const history = historyOf({ ...facts, system, broker, unsent, witness, database, brokerDatabase });
    for (const { name, check } of builtIn) this.#report(name, await problemsOf(() => check(history)));
    for (const { name, check } of (simulation.invariants ?? []) as readonly Invariant[]) {
      this.#report(name, await problemsOf(() => check(facts)));
    }
  }

  #report(name: string, problems: readonly string[]): void {
    for (const problem of problems) this.#violate(name, problem);
  }

  #violate(invariant: string, problem: string): void {
    this.#violations.push({ invariant, problem });
    this.#trace.add('simulation', `VIOLATED ${invariant}: ${problem}`);
  }

  #facts(): Facts {
    return {
      documents: documentsOf(this.#databases.store),
      log: logOf(this.#databases.store),
      files: this.#hostOptions.files,
      outside: this.#record,
      now: this.clock.now(),
    };
  }

  #logger(): Logger {
    const say =
      (level: string) =>
      (moment: string, facts: Record<string, unknown> = {}) => {
        if (moment === 'step.committed' || this.#tasks.current?.life.alive === false) return;
        const { cause, error, reason, decision } = facts;
        const why = cause ?? error ?? reason ?? '';
        this.#trace.add(
          this.#tasks.current?.life.name ?? 'host',
          `${level} ${moment} ${decision ?? ''} ${why}`.trimEnd(),
        );
      };
    return { info: say('info'), warn: say('warn'), error: say('error') };
  }
}

/** A client who is told this asks again. */
const passes: ReadonlySet<string> = new Set(['store.unavailable', 'store.contended', 'store.conflict']);

async function problemsOf(check: () => unknown): Promise<readonly string[]> {
  try {
    const found = (await check()) as undefined | string | readonly string[];
    return found === undefined ? [] : typeof found === 'string' ? [found] : found;
  } catch (error) {
    return [(error as Error).message];
  }
}

function documentsOf(database: Database): Documents {
  const all = database
    .prepare('SELECT ref, data FROM document ORDER BY ref')
    .all()
    .map(
      (row): StoredDocument => ({
        ref: row.ref as string,
        id: idOf(row.ref as string),
        data: opened(JSON.parse(row.data as string)),
      }),
    );
  const byRef = new Map(all.map((document) => [document.ref, document.data]));
  const byCollection = Map.groupBy(all, ({ ref }) => collectionOf(ref));
  return {
    all,
    get: <T>(ref: string) => byRef.get(ref) as T | undefined,
    in: <T>(collection: string) => (byCollection.get(collection) ?? []) as readonly StoredDocument<T>[],
  };
}

function logOf(database: Database): Entry[] {
  return database
    .prepare('SELECT position, at, chain, seq, hash, body FROM entry ORDER BY position')
    .all()
    .map((row) => {
      const { chain, body, ...rest } = row;
      const kind = chain === null ? 'journal' : 'log';
      return { ...rest, kind, entry: JSON.parse(body as string) } as unknown as Entry;
    });
}
