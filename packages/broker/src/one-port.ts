import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Broker } from './broker.ts';
import type { Admits, GrpcServer } from './grpc.ts';

/** What an HTTP/2 client without TLS sends first. Source: RFC 9113, 3.4. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** A connection that has not said by then what it is, is closed. */
const silentMs = 10_000;

export interface OnePortOptions {
  readonly admits?: Admits;
  /** How long a connection may stay silent. Default 10 s. */
  readonly silentMs?: number;
}

/**
 * Lets a broker be called by gRPC on the port of an HTTP server: whoever begins with HTTP/2's preface is handed to gRPC, all
 * others are the server's as before, with its time-outs. The server is listening or will be.
 */
export class OnePort {
  readonly #broker: Broker;
  readonly #options: OnePortOptions;
  readonly #handToHttp: (socket: Socket) => void;
  /** Connections that have not said what they are, and those of gRPC. */
  readonly #sockets = new Set<Socket>();
  #grpc: Promise<GrpcServer> | undefined;

  constructor(server: Server, broker: Broker, options: OnePortOptions = {}) {
    this.#broker = broker;
    this.#options = options;
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    this.#handToHttp = (socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    server.on('connection', (socket) => this.#sniff(socket));
  }

  /** Ends all streams and connections of gRPC. The server is its owner's to close. */
  async close(): Promise<void> {
    const grpc = await this.#grpc;
    await grpc?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #sniff(socket: Socket): void {
    this.#sockets.add(socket);
    // What came while the loop was held up is looked at first.
    const late = () => setImmediate(() => isSniffing && socket.destroy());
    const timer = setTimeout(late, this.#options.silentMs ?? silentMs);
    let isSniffing = true;
    const forget = () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    };
    const ignore = () => {};
    let seen = Buffer.alloc(0);
    const look = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) seen = Buffer.concat([seen, chunk]);
      const isGrpc = seen.subarray(0, preface.length).equals(preface.subarray(0, seen.length));
      if (isGrpc && seen.length < preface.length) return;
      socket.off('readable', look);
      isSniffing = false;
      clearTimeout(timer);
      if (seen.length > 0) socket.unshift(seen);
      if (isGrpc) void this.#handToGrpc(socket);
      else {
        forget();
        socket.off('close', forget).off('error', ignore);
        this.#handToHttp(socket);
      }
    };
    socket.on('close', forget).on('error', ignore).on('readable', look);
  }

  async #handToGrpc(socket: Socket): Promise<void> {
    this.#grpc ??= import('./grpc.ts').then(({ GrpcServer }) => new GrpcServer(this.#broker, this.#options.admits));
    const grpc = await this.#grpc;
    if (socket.destroyed) return;
    // HTTP/2 hangs up both ways at once; a peer that does half of it will not go on with the frame it was at.
    socket.once('end', () => socket.destroySoon());
    grpc.accept(socket);
  }
}
