import { Agent, request } from 'node:http';
import type { PushContent } from '@dormouse/broker';
import { PushLost, type PushWire } from './push-wire.ts';

/** Pushes to a foreign command, as Pub/Sub sends them: over HTTP, to its port. */
export class HttpPushes implements PushWire {
  readonly #port: number;
  /** A foreign server may close an idle connection at the moment it is used again, and nobody could tell that from a push it failed. */
  readonly #agent: Agent;

  constructor(port: number, concurrency: number) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: false, maxSockets: concurrency });
  }

  send({ headers, body }: PushContent): Promise<number> {
    return new Promise((answered, lost) => {
      let connected = false;
      const fail = (error: Error) => lost(new PushLost(error.message, !connected));
      const to = { host: '127.0.0.1', port: this.#port, path: '/pubsub-push', method: 'POST' };
      const outgoing = request({ ...to, agent: this.#agent, headers }, (response) => {
        response.resume();
        response.on('error', fail);
        response.on('end', () => answered(response.statusCode!));
      });
      outgoing.on('socket', (socket) => {
        socket.once('connect', () => {
          connected = true;
        });
      });
      outgoing.on('error', fail);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
