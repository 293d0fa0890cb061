import { Agent, request as httpRequest } from 'node:http';
import { type ApiAnswer, ApiRefusal, ApiServer } from './google/api-server.ts';
import type { SeenRequest } from './google/ordered-faults.ts';

type Answered = (request: SeenRequest, status: number, body: Buffer) => void;

/**
 * Stands between a service and an emulator, over HTTP/1.1, and lets go wrong what is ordered: answered in its place, late, dropped
 * before it got there, or done and its answer lost. Its `requests` are those of the service, so round trips can be counted.
 */
export class FaultProxy extends ApiServer {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #target: () => string;

  private constructor(target: () => string, answered: Answered) {
    super(async (request) => {
      const answer = await this.#forward(request);
      answered(request, answer.status, answer.bytes);
      return answer;
    });
    this.#target = target;
  }

  /**
   * @param target `host:port`, asked with every request: an emulator that starts again has another
   * @param answered hears of each request that got there, and of its answer
   */
  static start(target: string | (() => string), answered: Answered = () => {}): Promise<FaultProxy> {
    return new FaultProxy(typeof target === 'string' ? () => target : target, answered).listen();
  }

  #forward({
    method,
    path,
    headers,
    body,
  }: SeenRequest): Promise<ApiAnswer & { readonly status: number; readonly bytes: Buffer }> {
    const [host, port] = this.#target().split(':');
    const { connection: _, 'transfer-encoding': __, ...kept } = headers;
    return new Promise((resolve, reject) => {
      const options = { host, port, method, path, agent: this.#agent };
      const outgoing = httpRequest({ ...options, headers: { ...kept, 'content-length': body.length } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const { connection: _, 'transfer-encoding': __, ...headers } = response.headers;
          resolve({ status: response.statusCode!, bytes: Buffer.concat(chunks), headers });
        });
      });
      outgoing.on('error', ({ message }) => reject(new ApiRefusal(502, 'UNAVAILABLE', message)));
      outgoing.end(body);
    });
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    await super[Symbol.asyncDispose]();
  }
}
