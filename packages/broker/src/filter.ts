/**
 * Pub/Sub's filter language over attributes: `attributes:KEY`, `attributes.KEY = "v"`, `!=`, `hasPrefix(attributes.KEY,
 * "p")`, `NOT` or `-`, `AND`, `OR`, parentheses. `AND` and `OR` need parentheses to mix. At most 256 bytes.
 * Source: cloud.google.com/pubsub/docs/subscription-message-filter.
 */
export interface Filter {
  (attributes: Readonly<Record<string, string>>): boolean;
  /** As it was written. */
  readonly text: string;
  /** Of an AND: what must all hold. */
  readonly all?: readonly Filter[];
}

const maxFilterBytes = 256;

/** @throws FilterError naming the place and what was expected there */
export function parseFilter(text: string): Filter {
  if (Buffer.byteLength(text) > maxFilterBytes) {
    throw new FilterError(`the filter has ${Buffer.byteLength(text)} bytes; at most ${maxFilterBytes} are allowed`);
  }
  if (text.trim() === '') return Object.assign(() => true, { text });
  const parser = new Parser(text);
  const filter = parser.expression();
  parser.end();
  return filter;
}

/** The smallest part of a filter by which it leaves a message out; undefined where it does not. */
export function failingClause(filter: Filter, attributes: Readonly<Record<string, string>>): string | undefined {
  if (filter(attributes)) return undefined;
  for (const each of filter.all ?? []) {
    const failing = failingClause(each, attributes);
    if (failing !== undefined) return failing;
  }
  return filter.text;
}

export class FilterError extends Error {
  override readonly name = 'FilterError';
}

interface Token {
  readonly kind: 'word' | 'string' | 'symbol' | 'end';
  readonly text: string;
  readonly at: number;
  readonly end: number;
}

type Matches = (attributes: Readonly<Record<string, string>>) => boolean;

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokenize(text);
  }

  expression(): Filter {
    const from = this.#next;
    const terms = [this.#term()];
    const operator = this.#peek().text;
    if (operator !== 'AND' && operator !== 'OR') return terms[0]!;
    while (this.#take(operator)) terms.push(this.#term());
    const other = this.#peek();
    if (other.text === 'AND' || other.text === 'OR') {
      throw new FilterError(`at ${other.at}: AND and OR cannot be mixed without parentheses`);
    }
    return operator === 'AND'
      ? Object.assign(
          this.#since(from, (attributes) => terms.every((term) => term(attributes))),
          { all: terms },
        )
      : this.#since(from, (attributes) => terms.some((term) => term(attributes)));
  }

  end(): void {
    if (this.#peek().kind !== 'end') this.#fail('AND, OR or the end');
  }

  #term(): Filter {
    const from = this.#next;
    if (this.#take('(')) {
      const inner = this.expression();
      this.#expect(')');
      return inner;
    }
    return this.#since(from, this.#simple());
  }

  /** What was parsed from a token on. */
  #since(from: number, matches: Matches): Filter {
    return Object.assign(matches, {
      text: this.#text.slice(this.#tokens[from]!.at, this.#tokens[this.#next - 1]!.end),
    });
  }

  #simple(): Matches {
    if (this.#take('NOT') || this.#take('-')) {
      const inner = this.#term();
      return (attributes) => !inner(attributes);
    }
    if (this.#take('hasPrefix')) return this.#prefix();
    this.#expect('attributes', 'attributes, hasPrefix, NOT or (');
    if (this.#take(':')) {
      const key = this.#key();
      return (attributes) => Object.hasOwn(attributes, key);
    }
    this.#expect('.', ': or .');
    const key = this.#key();
    if (this.#take('=')) {
      const value = this.#string();
      return (attributes) => Object.hasOwn(attributes, key) && attributes[key] === value;
    }
    this.#expect('!=', '= or !=');
    const value = this.#string();
    return (attributes) => !Object.hasOwn(attributes, key) || attributes[key] !== value;
  }

  #prefix(): Matches {
    this.#expect('(');
    this.#expect('attributes');
    this.#expect('.');
    const key = this.#key();
    this.#expect(',');
    const prefix = this.#string();
    this.#expect(')');
    return (attributes) => Object.hasOwn(attributes, key) && attributes[key]!.startsWith(prefix);
  }

  #key(): string {
    const token = this.#peek();
    if (token.kind !== 'word' && token.kind !== 'string') this.#fail('a key');
    this.#next++;
    return token.text;
  }

  #string(): string {
    const token = this.#peek();
    if (token.kind !== 'string') this.#fail('a string in double quotes');
    this.#next++;
    return token.text;
  }

  #peek(): Token {
    return this.#tokens[this.#next]!;
  }

  #take(text: string): boolean {
    const token = this.#peek();
    if (token.kind === 'string' || token.text !== text) return false;
    this.#next++;
    return true;
  }

  #expect(text: string, wanted = text): void {
    if (!this.#take(text)) this.#fail(wanted);
  }

  #fail(wanted: string): never {
    const { at, text, kind } = this.#peek();
    throw new FilterError(`at ${at}: expected ${wanted}, found ${kind === 'end' ? 'the end' : `"${text}"`}`);
  }
}

const word = /[A-Za-z_][A-Za-z0-9_-]*/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const symbol = /!=|[=:.(),-]/y;
const space = /\s+/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  while (at < text.length) {
    const blank = match(space);
    if (blank) {
      at += blank[0].length;
      continue;
    }
    const string = match(quoted);
    const found = string ?? match(word) ?? match(symbol);
    if (!found) throw new FilterError(`at ${at}: "${text[at]}" does not belong here`);
    const end = at + found[0].length;
    if (string) tokens.push({ kind: 'string', text: string[1]!.replace(/\\(.)/g, '$1'), at, end });
    else tokens.push({ kind: /^[A-Za-z_]/.test(found[0]) ? 'word' : 'symbol', text: found[0], at, end });
    at = end;
  }
  tokens.push({ kind: 'end', text: '', at, end: at });
  return tokens;
}
