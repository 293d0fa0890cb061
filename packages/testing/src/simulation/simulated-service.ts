import type { PushOutcome, PushRequest, PushSlot, PushTarget } from '@dormouse/broker';
import { causeOf, type Delivery, deliveryOf } from '@dormouse/core';
import type { ManifestService } from '@dormouse/local';
import type { Choices } from './choices.ts';
import type { Faults } from './faults.ts';
import { Life, type Task, type Tasks } from './tasks.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface SimulatedServiceOptions {
  readonly service: ManifestService;
  readonly tasks: Tasks;
  readonly clock: VirtualClock;
  readonly choices: Choices;
  readonly faults: Faults;
  /** Counts deliveries of one message to one subscription, over restarts of the host. */
  readonly counts: Map<string, number>;
  /** What takes the deliveries of a process that has just begun. */
  readonly newInstance: () => Deliver;
}

type Deliver = (delivery: Delivery, task: Task) => Promise<void>;

/** One process, and those who wait for its answers. */
interface Instance {
  readonly life: Life;
  readonly deliver: Deliver;
  readonly held: Set<(outcome: PushOutcome) => void>;
  /** It holds one message, since all that held it died. */
  readonly alone: boolean;
}

const delayMs = [50, 1_000, 30_000, 600_000];

/** The instances of one service as the dispatcher sees them: each takes some deliveries, and can die with all of them. */
export class SimulatedService implements PushTarget {
  readonly slots: number;
  onFree: () => void = () => {};
  readonly #options: SimulatedServiceOptions;
  readonly #instances = new Set<Instance>();
  #born = 0;
  #inFlight = 0;
  /** Whose answers are heard: of those before nobody waits any more. */
  #pusher = 0;
  #ended = false;

  constructor(options: SimulatedServiceOptions) {
    this.#options = options;
    const { concurrency, maxInstances } = options.service.limits;
    this.slots = concurrency * maxInstances;
  }

  take(): PushSlot | undefined {
    return this.#slot(() => this.#anyInstance());
  }

  takeAlone(): PushSlot | undefined {
    return this.#slot(() => this.#newInstance(true));
  }

  /** The host is gone, and so are all of them. */
  end(): void {
    this.#ended = true;
    this.onFree = () => {};
    for (const { life } of this.#instances) {
      life.onEnd = () => {};
      life.end();
    }
  }

  /** Whoever pushed is gone, and another comes: what runs goes on, and its answers reach nobody. */
  losePusher(): void {
    this.#pusher++;
    this.onFree = () => {};
    this.#inFlight = 0;
    for (const { held } of this.#instances) held.clear();
  }

  #slot(instance: () => Instance): PushSlot | undefined {
    if (this.#ended || this.#inFlight >= this.slots) return undefined;
    this.#inFlight++;
    const pusher = this.#pusher;
    const free = () => {
      if (pusher !== this.#pusher) return;
      this.#inFlight--;
      this.onFree();
    };
    return { push: (request) => this.#push(request, instance()).finally(free), release: free };
  }

  #push({ subscription, lease, timeoutMs }: PushRequest, instance: Instance): Promise<PushOutcome> {
    const { tasks, clock, choices, faults, counts } = this.#options;
    const { life, deliver, held, alone } = instance;
    const delivery = deliveryOf(subscription, lease.message);
    const { attributes } = delivery.message;
    const message = `${delivery.subscription} ${attributes['ce-id'] ?? lease.message.position} ${attributes['dormouse-attempt'] ?? 1}`;
    const count = (counts.get(message) ?? 0) + 1;
    counts.set(message, count);
    const title = `${delivery.subscription} ${(attributes['ce-id'] ?? '').slice(0, 6)}${count > 1 ? ` (${count})` : ''}`;
    const name = `${message} (${count})`;
    const { promise, resolve: answer } = Promise.withResolvers<PushOutcome>();
    const pusher = this.#pusher;
    const resolve = (outcome: PushOutcome) => {
      if (pusher === this.#pusher) answer(outcome);
    };
    held.add(resolve);
    // Its own time-out ends the attempt: whoever runs it may not know.
    const cancel = clock.after(timeoutMs, () => this.#ended || resolve({ acked: false, reason: 'no answer in time' }));
    const run = async (): Promise<void> => {
      const outcome = await this.#deliver(delivery, name, deliver);
      if (faults.strikes('ack.lost', name, life.name)) resolve({ acked: false, reason: 'the answer was lost' });
      else resolve(outcome);
    };
    if (faults.strikes('message.undeliverable', name, life.name)) {
      resolve({ acked: false, reason: 'the service cannot be reached', unseen: true });
    } else {
      void tasks.start(life, name, title, run);
      if (faults.strikes('message.duplicated', name, life.name)) {
        const again = `${name} again`;
        clock.after(choices.pick(`delay of ${again}`, delayMs), () => {
          if (life.alive)
            void tasks.start(life, again, `${title} again`, () => this.#deliver(delivery, again, deliver).then());
        });
      }
    }
    return promise.finally(() => {
      held.delete(resolve);
      cancel();
      if (alone) life.end();
    });
  }

  async #deliver(delivery: Delivery, name: string, deliver: Deliver): Promise<PushOutcome> {
    const { tasks, choices, faults } = this.#options;
    const task = tasks.current!;
    if (faults.strikes('message.delayed', name, task.life.name)) {
      await tasks.wait(task, choices.pick(`delay of ${name}`, delayMs), name);
    }
    await tasks.point('takes the message');
    let outcome: PushOutcome;
    try {
      await deliver(delivery, task);
      outcome = { acked: true };
    } catch (error) {
      outcome = { acked: false, reason: causeOf(error) };
    }
    const point = await tasks.point(outcome.acked ? 'acks' : `nacks: ${outcome.reason}`);
    if (faults.strikes('ack.late', point, task.life.name)) await tasks.wait(task, 1_300_000, `${point} late`);
    return outcome;
  }

  #anyInstance(): Instance {
    const { service, choices } = this.#options;
    const others = [...this.#instances].filter(({ alone }) => !alone);
    const index = choices.whole(`instance ${service.name} ${this.#born} ${this.#inFlight}`, 0, 2);
    return others[index] ?? this.#newInstance();
  }

  #newInstance(alone = false): Instance {
    const { service, newInstance } = this.#options;
    const life = new Life(`${service.name}-${++this.#born}${alone ? ' alone' : ''}`);
    const instance: Instance = { life, deliver: newInstance(), held: new Set(), alone };
    this.#instances.add(instance);
    life.onEnd = () => {
      this.#instances.delete(instance);
      for (const resolve of instance.held) resolve({ acked: false, reason: 'its process died', died: true });
    };
    return instance;
  }
}
