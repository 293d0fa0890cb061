import { BrokerServer } from '../broker-server.ts';
import { Emulator, type EmulatorProgram } from '../google-emulator.ts';
import { MovedClock } from '../moved-clock.ts';
import { overGrpc } from '../pubsub-grpc.ts';
import { overRest } from '../pubsub-wire.ts';
import { emulatorGaps } from './emulator-gaps.ts';
import type { PubsubServer, Target } from './target.ts';

/** A broker for each case, whose clock that case moves. */
async function openBroker(protocol: 'REST' | 'gRPC'): Promise<PubsubServer> {
  const clock = new MovedClock();
  const server = await BrokerServer.open({ clock });
  const grpc = overGrpc(server.address);
  return {
    wire: protocol === 'gRPC' ? grpc : overRest(server.url),
    grpc: server.address,
    now: clock.now,
    async pass(ms) {
      clock.move(ms);
      await server.written();
    },
    async [Symbol.asyncDispose]() {
      grpc[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export const brokerOverRest: Target = {
  name: 'our broker over REST',
  isGrpc: false,
  movesTime: true,
  gaps: new Map(),
  open: () => openBroker('REST'),
};

export const brokerOverGrpc: Target = {
  name: 'our broker over gRPC',
  isGrpc: true,
  movesTime: true,
  gaps: new Map(),
  open: () => openBroker('gRPC'),
};

/** One process for all cases: it takes seconds to start. Whoever uses it disposes of it. */
export function googlesEmulator(program: EmulatorProgram): Target & AsyncDisposable {
  let started: Promise<Emulator> | undefined;
  return {
    name: 'Google’s emulator',
    isGrpc: true,
    movesTime: false,
    gaps: emulatorGaps,
    async open() {
      started ??= Emulator.start(program);
      const { address } = await started;
      const wire = overGrpc(address);
      return {
        wire,
        grpc: address,
        now: Date.now,
        pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        [Symbol.asyncDispose]: async () => wire[Symbol.dispose](),
      };
    },
    async [Symbol.asyncDispose]() {
      (await started)?.[Symbol.dispose]();
    },
  };
}
