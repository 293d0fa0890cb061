/** A subscription of each kind: of no promise but that all arrives, of order, of once. */
export const kinds = ['plain', 'ordered', 'once'] as const;
export type Kind = (typeof kinds)[number];

/** What was published to a broker that is killed, and what came of it. */
export class BrokerLedger {
  readonly problems: string[] = [];
  readonly delivered: Record<Kind, number> = { plain: 0, ordered: 0, once: 0 };
  /** By text. */
  readonly #published = new Map<string, { id: string | undefined }>();
  readonly #ids = new Set<string>();
  readonly #sequences = new Map<string, number>();
  readonly #seen: Record<Kind, Set<string>> = { plain: new Set(), ordered: new Set(), once: new Set() };
  readonly #ackedOnce = new Set<string>();
  readonly #latest = new Map<string, number>();

  complain(problem: string): void {
    this.problems.push(problem);
  }

  /** The next texts of a key, about to be published. */
  next(key: string, count: number): string[] {
    const first = this.#sequences.get(key) ?? 0;
    this.#sequences.set(key, first + count);
    const texts = Array.from({ length: count }, (_, index) => `${key}/${first + index}`);
    for (const text of texts) this.#published.set(text, { id: undefined });
    return texts;
  }

  answer(texts: readonly string[], ids: readonly string[]): void {
    for (const [index, text] of texts.entries()) {
      const id = ids[index]!;
      if (this.#ids.has(id)) this.complain(`id ${id} was given twice, to ${text} as well`);
      this.#ids.add(id);
      this.#published.get(text)!.id = id;
    }
  }

  receive(kind: Kind, id: string, text: string): void {
    this.delivered[kind]++;
    const published = this.#published.get(text);
    if (!published) this.complain(`${kind}: ${text} was never published`);
    else if (published.id !== undefined && published.id !== id) this.complain(`${kind}: ${text} has another id, ${id}`);
    if (kind === 'once' && this.#ackedOnce.has(id))
      this.complain(`once: ${text} came again after its ack was answered`);
    const isNew = !this.#seen[kind].has(text);
    this.#seen[kind].add(text);
    if (kind !== 'ordered' || !isNew) return;
    const [key, number] = text.split('/') as [string, string];
    const latest = this.#latest.get(key) ?? -1;
    if (Number(number) < latest) this.complain(`ordered: ${text} came first after ${key}/${latest}`);
    this.#latest.set(key, Math.max(latest, Number(number)));
  }

  acked(kind: Kind, id: string): void {
    if (kind === 'once') this.#ackedOnce.add(id);
  }

  get answered(): number {
    return this.#ids.size;
  }

  get unanswered(): number {
    return this.#published.size - this.#ids.size;
  }

  /** Every publish that was answered has arrived everywhere. */
  isComplete(): boolean {
    return this.missing() === undefined;
  }

  /** One that has not. */
  missing(): string | undefined {
    for (const [text, { id }] of this.#published) {
      if (id === undefined) continue;
      const kind = kinds.find((kind) => !this.#seen[kind].has(text));
      if (kind) return `${text} on ${kind}`;
    }
    return undefined;
  }
}
