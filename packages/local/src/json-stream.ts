import type { Socket } from 'node:net';

/**
 * JSON values over a socket, one a line. What is sent in one turn of the loop leaves in one write: with a hundred steps under
 * way most writes carry several, and a system call costs more than a value.
 */
export class JsonStream {
  readonly #socket: Socket;
  #unsent = '';
  /** What came of a line that has not come to its end. */
  #rest = '';

  /** @param onValue what throws, as a line that is no JSON, ends the socket with that error */
  constructor(socket: Socket, onValue: (value: unknown) => void) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      try {
        this.#take(text, onValue);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
  }

  send(value: unknown): void {
    if (this.#unsent === '') setImmediate(() => this.#flush());
    this.#unsent += `${JSON.stringify(value)}\n`;
  }

  /** Sends what is left, and ends this side. Resolves when all of it has left, or nobody is there to take it. */
  end(): Promise<void> {
    this.#flush();
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  #take(text: string, onValue: (value: unknown) => void): void {
    let from = 0;
    // Only what is new is searched: a value of megabytes comes in a thousand pieces.
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', from)) {
      onValue(JSON.parse(this.#rest + text.slice(from, end)));
      this.#rest = '';
      from = end + 1;
    }
    this.#rest += text.slice(from);
  }

  #flush(): void {
    if (this.#unsent === '') return;
    this.#socket.write(this.#unsent);
    this.#unsent = '';
  }
}
