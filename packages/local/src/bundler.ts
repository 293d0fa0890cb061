import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from './manifest.ts';

const timeoutMs = 60_000;

/** The sources do not make a system: they do not parse, do not load, or declare what does not fit. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

/**
 * Bundles every service of a system into one file each, and writes down what the system declares.
 * In a process of its own that ends with the work: bundling inside the host would take its memory for good.
 */
export class Bundler {
  readonly outputFolder: string;
  readonly #systemFile: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #complaint = '';

  /**
   * @param folderBefore the output of a build before: all sources are read at once, so that `bundle`, when it is called, has
   * only what changed since to read
   * @param consoleModule exports `serveConsole(commands)`; it is bundled with the system's commands, as `console.process.mjs`
   */
  constructor(systemFile: string, outputFolder: string, folderBefore = '', consoleModule = '') {
    this.outputFolder = outputFolder;
    this.#systemFile = systemFile;
    const command = [join(import.meta.dirname, 'bundle.ts'), systemFile, outputFolder, folderBefore, consoleModule];
    this.#child = spawn(process.execPath, command, {
      stdio: ['pipe', 'ignore', 'pipe'],
      // A Ctrl-C in the terminal is the host's to answer: it finishes its start, then stops.
      detached: true,
    });
    this.#child.stderr!.on('data', (chunk) => {
      this.#complaint = (this.#complaint + chunk).slice(-4000);
    });
    // It may be gone before it is told anything.
    this.#child.stdin!.on('error', () => {});
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', resolve);
    });
    this.#ended.catch(() => {});
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Once. @throws BundleError; what the signal aborts with */
  async bundle(signal?: AbortSignal): Promise<Manifest> {
    const stop = () => this.stop();
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.stop();
    }, timeoutMs);
    this.#child.stdin!.write('\n');
    const code = await this.#ended.finally(() => clearTimeout(timer));
    signal?.removeEventListener('abort', stop);
    signal?.throwIfAborted();
    if (isLate) {
      this.#complaint += `it is not done after ${timeoutMs / 1000} s; does a module wait for something when it is imported?`;
    }
    if (code !== 0) {
      throw new BundleError(`the system ${this.#systemFile} does not build:\n${withoutNode(this.#complaint)}`);
    }
    return JSON.parse(readFileSync(join(this.outputFolder, 'manifest.json'), 'utf8'));
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

/** What a person who mends the sources needs: not where in Node or in the bundler it was noticed. */
function withoutNode(complaint: string): string {
  const own = join(import.meta.dirname, '/');
  return complaint
    .split('\n')
    .filter(
      (line) =>
        !(/^\s+at /.test(line) && (line.includes('node:') || line.includes(own))) && !/^Node\.js v\d/.test(line),
    )
    .join('\n')
    .replace(/^node:.*:\d+\n.*\n\s*\^\n+/m, '')
    .replace(/ \{\n {2}code: '\w+'\n\}/, '')
    .replace(/\n{2,}/g, '\n')
    .trim();
}
