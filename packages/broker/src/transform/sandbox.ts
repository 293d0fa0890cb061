import { readFileSync } from 'node:fs';
import { JSException, type JSValueHandle, QuickJS } from 'quickjs-wasi';
import type { Udf } from './message-transform.ts';

/** A message as a function sees it, and gives it back. */
export interface UdfMessage {
  readonly data: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What a function may know of a message and cannot change; on a topic it has no id and no time yet. */
export interface UdfMetadata {
  readonly message_id?: string;
  readonly publish_time?: string;
  readonly ordering_key?: string;
}

/** Source: cloud.google.com/pubsub/docs/smts, on resources. */
const maxMs = 500;
/** A message has up to 10 MB, and JSON of it is parsed and written again. */
const maxMemoryBytes = 128 * 1024 * 1024;
const maxStackBytes = 512 * 1024;
const maxToldLength = 500;

/** JSON is taken before the code may replace it. */
const harness = `(() => {
  const { parse, stringify } = JSON;
  const { freeze } = Object;
  const Wrong = TypeError;
  return (udf, input) => {
    const { message, metadata } = parse(input);
    const result = udf(message, freeze(metadata));
    if (result === null) return 'null';
    if (typeof result !== 'object') throw new Wrong('it returned ' + typeof result + '; return the message, or null');
    return stringify({ data: result.data, attributes: result.attributes });
  };
})()`;

let wasm: WebAssembly.Module | undefined;

/**
 * One function of a user's, in a JavaScript engine that is WebAssembly: it reaches nothing but its message, and of time, memory
 * and stack it has so much. What it keeps in global variables is there for its next message, and lost after an error of
 * the engine, which may have left anything behind.
 */
export class Sandbox {
  readonly #engine: QuickJS;
  readonly #harness: JSValueHandle;
  readonly #udf: JSValueHandle;
  readonly #limit: { at: number };

  /** @throws Error in words for the user: the code does not run, or has no such function */
  static async open({ functionName, code }: Udf): Promise<Sandbox> {
    wasm ??= new WebAssembly.Module(readFileSync(new URL(import.meta.resolve('quickjs-wasi/quickjs.wasm'))));
    const limit = { at: Number.POSITIVE_INFINITY };
    const engine = await QuickJS.create({
      wasm,
      memoryLimit: maxMemoryBytes,
      maxStackSize: maxStackBytes,
      interruptHandler: () => usedMs() > limit.at,
    });
    try {
      const run = engine.evalCode(harness);
      limit.at = usedMs() + maxMs;
      engine.evalCode(code, `${functionName}.js`).dispose();
      const found = engine.evalCode(`typeof ${functionName} === 'function'`).consume((is) => engine.dump(is));
      if (found !== true) throw new Error(`the code has no function "${functionName}"`);
      return new Sandbox(engine, run, engine.evalCode(functionName), limit);
    } catch (error) {
      const { why } = told(error);
      engine.dispose();
      throw why;
    }
  }

  private constructor(engine: QuickJS, run: JSValueHandle, udf: JSValueHandle, limit: { at: number }) {
    this.#engine = engine;
    this.#harness = run;
    this.#udf = udf;
    this.#limit = limit;
  }

  /** The engine came to one of its limits, or worse: to be disposed of. */
  isBroken = false;

  /** The message it became; null where it is filtered out. @throws Error in words for the user */
  apply(message: UdfMessage, metadata: UdfMetadata): UdfMessage | null {
    this.#limit.at = usedMs() + maxMs;
    const engine = this.#engine;
    let result: string;
    try {
      using input = engine.newString(JSON.stringify({ message, metadata }));
      using output = engine.callFunction(this.#harness, engine.undefined, this.#udf, input);
      result = output.toString();
    } catch (error) {
      const { why, isBroken } = told(error);
      this.isBroken = isBroken;
      throw why;
    }
    return checked(JSON.parse(result), message);
  }

  dispose(): void {
    this.#engine.dispose();
  }
}

/** Of the processor, by this thread: on a machine that has other work no function fails for that. */
function usedMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

function checked(result: Partial<UdfMessage> | null, before: UdfMessage): UdfMessage | null {
  if (result === null) return null;
  const { data, attributes = before.attributes } = result;
  if (typeof data !== 'string' || !data.isWellFormed()) {
    throw new Error('data of what it returned is no string of Unicode');
  }
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes)) {
    throw new Error('attributes of what it returned is no object');
  }
  const wrong = Object.entries(attributes).find(([, value]) => typeof value !== 'string');
  if (wrong) throw new Error(`attribute "${wrong[0]}" of what it returned is no string`);
  return { data, attributes };
}

function told(error: unknown): { readonly why: Error; readonly isBroken: boolean } {
  if (!(error instanceof JSException)) return { why: error as Error, isBroken: true };
  using exception = error;
  const { name, message } = exception;
  if (name !== 'InternalError') {
    const text = name === 'Error' || name === '<null>' ? message : `${name}: ${message}`;
    return { why: new Error(text.slice(0, maxToldLength)), isBroken: false };
  }
  const limits: Record<string, string> = {
    interrupted: `it ran longer than ${maxMs} ms`,
    'out of memory': `it took more than ${maxMemoryBytes / 1024 / 1024} MB of memory`,
  };
  return { why: new Error(limits[message] ?? message), isBroken: true };
}
