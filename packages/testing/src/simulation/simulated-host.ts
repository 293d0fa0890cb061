import { Broker, type Database, PushDispatcher, type PushTarget } from '@dormouse/broker';
import {
  auditLog,
  createEndpoint,
  type Delivery,
  deliveryOf,
  type Endpoint,
  type Logger,
  type Publisher,
  planOf,
} from '@dormouse/core';
import { publishingTo, Scheduler, SqliteStateStore, settleDeadly } from '@dormouse/local';
import type { Choices } from './choices.ts';
import type { Faults } from './faults.ts';
import type { LoadedSystem } from './loaded-system.ts';
import { type SimulatedPorts, type SimulatedPortsOptions, simulatedPorts } from './simulated-ports.ts';
import { SimulatedService } from './simulated-service.ts';
import { Life, type Task, type Tasks } from './tasks.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { Witness } from './witness.ts';

/** Whether store and broker are apart, with outbox and relay, or share their transactions. */
export type Topology = 'apart' | 'shared';

export interface SimulatedHostOptions extends Pick<SimulatedPortsOptions, 'answers' | 'files'> {
  readonly system: LoadedSystem;
  readonly database: Database;
  /** The same one, where they share their transactions. */
  readonly brokerDatabase: Database;
  readonly tasks: Tasks;
  readonly clock: VirtualClock;
  readonly choices: Choices;
  readonly faults: Faults;
  readonly witness: Witness;
  readonly log: Logger;
  readonly counts: Map<string, number>;
  /** What a service does that is another command. */
  readonly foreign: (service: string, delivery: Delivery) => Promise<void>;
}

const project = 'simulated';
export const topicName = (topic: string): string => `projects/${project}/topics/${topic}`;
const subscriptionName = (name: string): string => `projects/${project}/subscriptions/${name}`;

/** One life of the host: the real store, broker, dispatcher and scheduler over databases that outlive it. Its broker may die alone. */
export class SimulatedHost {
  readonly life: Life;
  readonly store: SqliteStateStore;
  readonly ports: SimulatedPorts;
  /** Rejects when it ends: what whoever was asking it sees. */
  readonly gone: Promise<never>;
  readonly #options: SimulatedHostOptions;
  readonly #scheduler: Scheduler;
  readonly #services: ReadonlyMap<string, SimulatedService>;
  #broker: RunningBroker;
  #brokers = 0;

  constructor(name: string, options: SimulatedHostOptions) {
    const { system, database, brokerDatabase, tasks, clock, log } = options;
    const { manifest } = system;
    this.#options = options;
    this.life = new Life(name);
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.gone = promise;
    this.life.onEnd = () => reject(new Error('the host died'));
    this.#services = new Map(
      manifest.services.map((service): [string, SimulatedService] => [
        endpointOf(service.name),
        new SimulatedService({ ...options, service, newInstance: () => this.#newInstance(service.name) }),
      ]),
    );
    this.#broker = this.#newBroker();
    const topics = new Set(manifest.topics.map((topic) => topic.name));
    this.store = new SqliteStateStore({
      database,
      declares: (topic) => topics.has(topic),
      ...(database === brokerDatabase && publishingTo(this.broker, topicName)),
      system: manifest.system,
      audit: manifest.topics.some((topic) => topic.name === auditLog.name),
      closedStatuses: manifest.closedStatuses,
      now: clock.now,
    });
    this.ports = this.#newPorts();
    const timers = tasks.background(this.life, `${name} timers`);
    const own = (callback: () => void) => () => tasks.as(timers, callback);
    const itsClock = {
      ...clock,
      at: (time: number, callback: () => void) => clock.at(time, own(callback)),
      after: (ms: number, callback: () => void) => clock.after(ms, own(callback)),
    };
    this.#scheduler = new Scheduler(this.ports.store, itsClock, log, this.ports.relay);
    this.store.onCommitted = ({ dueAt, at, unsent }) =>
      tasks.as(timers, () => {
        if (dueAt !== undefined) this.#scheduler.wake(dueAt, at);
        if (unsent) this.#scheduler.expectSent();
      });
    this.start = () => {
      this.#push();
      tasks.as(timers, () => this.#scheduler.start());
    };
  }

  /** Gives out messages and fires timers, from now on. */
  readonly start: () => void;

  /** The code of a service with what it holds in memory: its own relay. Answers what takes deliveries. */
  #newInstance(service: string): (delivery: Delivery, task: Task) => Promise<void> {
    const { system, witness, log, foreign } = this.#options;
    const code = system.services.get(service);
    const ports = { ...this.#newPorts(), system: system.manifest.system, log, authenticate: async () => {} };
    const endpoint: Pick<Endpoint, 'deliver'> = code
      ? createEndpoint(code, ports)
      : { deliver: (delivery) => foreign(service, delivery) };
    return async (delivery, task) => {
      witness.delivering(delivery, task);
      await endpoint.deliver(delivery);
      witness.settled.push(delivery);
    };
  }

  #newPorts(): SimulatedPorts {
    const { database, brokerDatabase } = this.#options;
    const { store } = this;
    const publisher: Publisher = { publish: (topic, messages) => this.broker.publish(topicName(topic), messages) };
    return simulatedPorts({ ...this.#options, store, publisher: database === brokerDatabase ? undefined : publisher });
  }

  /** Topics and subscriptions, as a platform provisions them. Once for a database. */
  async provision({ manifest }: LoadedSystem): Promise<void> {
    const pushOf = (service: string) => ({ pushEndpoint: endpointOf(service) });
    const { topics, subscriptions } = planOf(manifest, { pushOf });
    await Promise.all(topics.map(({ name }) => this.broker.createTopic({ name: topicName(name) })));
    await Promise.all(
      // Of what the wire gives up, nobody would know whether it was to be.
      subscriptions.map(({ service: _, deadLetterPolicy: __, name, topic, ...config }) =>
        this.broker.createSubscription({ ...config, name: subscriptionName(name), topic: topicName(topic) }),
      ),
    );
  }

  get broker(): Broker {
    return this.#broker.broker;
  }

  /** False while its broker is dead. */
  get hasBroker(): boolean {
    return this.#broker.life.alive;
  }

  /** What the broker held in memory is gone. Whatever takes messages goes on, and answers nobody. */
  endBroker(): void {
    this.#broker.life.end();
    for (const service of this.#services.values()) service.losePusher();
    this.broker.close();
  }

  /** Another over the same database. */
  startBroker(): void {
    this.#broker = this.#newBroker();
    this.#push();
  }

  #newBroker(): RunningBroker {
    const { system, brokerDatabase, tasks, clock, witness, log } = this.#options;
    const { manifest } = system;
    const broker = new Broker(brokerDatabase, clock, { fairBy: 'ce-tenant', tidies: false });
    const life = new Life(`${this.life.name} broker ${++this.#brokers}`);
    const dispatcher = new PushDispatcher(broker, {
      resolve: (endpoint): PushTarget | undefined => this.#services.get(endpoint),
      authorize: async () => '',
      onDeadly: (subscription, lease, reason) => {
        const delivery = deliveryOf(subscription, lease.message);
        const title = `${delivery.subscription} kills every process`;
        const recorded = tasks.start(
          this.life,
          `${title} ${lease.message.position} ${lease.attempt} ${life.name}`,
          title,
          () => {
            witness.delivering(delivery, tasks.current!);
            return settleDeadly(manifest, { ...this.ports, system: manifest.system, log })(subscription, lease, reason);
          },
        );
        // A broker that is gone does not learn of it.
        return new Promise((resolve, reject) => {
          recorded.then(
            (isRecorded) => life.alive && resolve(isRecorded),
            (error) => life.alive && reject(error),
          );
        });
      },
    });
    return { broker, dispatcher, life };
  }

  #push(): void {
    for (const subscription of this.broker.subscriptions) this.#broker.dispatcher.add(subscription);
  }

  /** All of it is gone at once; what is in the databases stays. */
  end(): void {
    this.life.end();
    this.#broker.life.end();
    for (const service of this.#services.values()) service.end();
    this.#scheduler.stop();
    this.broker.close();
  }
}

interface RunningBroker {
  readonly broker: Broker;
  readonly dispatcher: PushDispatcher;
  readonly life: Life;
}

function endpointOf(service: string): string {
  return `http://${service}.simulated/pubsub-push`;
}
