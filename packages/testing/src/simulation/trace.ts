/** What happened in one run, in order: when, who, what. The same for the same seed, byte for byte. */
export class Trace {
  readonly lines: string[] = [];
  readonly #keeps: boolean;
  readonly #elapsedMs: () => number;

  constructor(keeps: boolean, elapsedMs: () => number) {
    this.#keeps = keeps;
    this.#elapsedMs = elapsedMs;
  }

  add(who: string, what: string): void {
    if (this.#keeps) this.lines.push(`${elapsed(this.#elapsedMs())}  ${who.padEnd(28)}  ${what}`);
  }
}

/** `12d 03:04:05.678` */
function elapsed(ms: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  const seconds = (ms / 1000) % 60;
  const time = `${two((ms / 3_600_000) % 24)}:${two((ms / 60_000) % 60)}:${two(seconds)}.${String(ms % 1000).padStart(3, '0')}`;
  return `${String(Math.floor(ms / 86_400_000)).padStart(3)}d ${time}`;
}
