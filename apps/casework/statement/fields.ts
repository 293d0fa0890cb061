import { isCalendarDate, isTimestamp } from './calendar.ts';
import type { Problems } from './problems.ts';

/**
 * The fields of an object that came from outside, read one by one. What is wrong with a field is added to the problems,
 * and a harmless stand-in ('' or 0) returned, so that the reader goes on and finds every problem in one pass.
 */
export class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  /** Where the object stands in the input; '' for the input itself. */
  readonly path: string;
  readonly #problems: Problems;

  private constructor(value: Readonly<Record<string, unknown>>, path: string, problems: Problems) {
    this.#value = value;
    this.path = path;
    this.#problems = problems;
  }

  /** Undefined, and a problem at `path` (or `name`, for an input's root), where the value is not an object. */
  static of(value: unknown, path: string, problems: Problems, name = path): Fields | undefined {
    if (isObject(value)) return new Fields(value, path, problems);
    problems.add(path || name, unfit(value, 'an object'));
    return undefined;
  }

  get names(): string[] {
    return Object.keys(this.#value);
  }

  has(name: string): boolean {
    return this.#value[name] !== undefined;
  }

  /** Whether there is something to read, where null says "there is none" as well as leaving the field out does. */
  holds(name: string): boolean {
    return this.has(name) && this.#value[name] !== null;
  }

  raw(name: string): unknown {
    return this.#value[name];
  }

  refuse(name: string, message: string): void {
    this.#problems.add(this.#pathOf(name), message);
  }

  /** Any text but the empty one. */
  text(name: string): string {
    return this.#read(name, isText, 'a non-empty text', '');
  }

  textOrEmpty(name: string): string {
    return this.#read(name, isUnicode, 'a text', '');
  }

  matching(name: string, pattern: RegExp, expected: string): string {
    const value = this.#value[name];
    if (isUnicode(value) && pattern.test(value)) return value;
    // It may be somebody's address in the wrong place: who sent it knows it, and problems are shown and kept.
    const got = typeof value === 'string' ? `a text of ${value.length} characters` : 'no text';
    this.refuse(name, value === undefined ? unfit(value, expected) : `must be ${expected}, got ${got}`);
    return '';
  }

  oneOf<const T extends string>(name: string, options: readonly T[]): T | undefined {
    const isOption = (value: unknown): value is T => options.some((option) => option === value);
    return this.#read<T | undefined>(name, isOption, options.map((option) => `"${option}"`).join(' or '), undefined);
  }

  texts(name: string): string[] {
    return this.list(name).map((value, index) => {
      if (!isText(value)) this.refuse(`${name}[${index}]`, unfit(value, 'a non-empty text'));
      return isText(value) ? value : '';
    });
  }

  date(name: string): string {
    return this.#read(name, (value) => isUnicode(value) && isCalendarDate(value), 'a real date as YYYY-MM-DD', '');
  }

  timestamp(name: string): string {
    const fits = (value: unknown) => isUnicode(value) && isTimestamp(value);
    return this.#read(name, fits, 'a date as YYYY-MM-DD, or with a time as 2025-01-29T10:30:00Z', '');
  }

  /** Minor units of a currency, more than nothing. */
  amount(name: string): number {
    return this.#read(name, isAmount, 'a whole number of minor units from 1 to 2^53 - 1 (12.30 is 1230)', 0);
  }

  integer(name: string): number {
    return this.#read(name, isInteger, 'a whole number of minor units between -2^53 and 2^53', 0);
  }

  list(name: string): readonly unknown[] {
    return this.#read<readonly unknown[]>(name, Array.isArray, 'a list', []);
  }

  object(name: string): Fields | undefined {
    return Fields.of(this.#value[name], this.#pathOf(name), this.#problems);
  }

  /** The objects of a list; what is none is a problem and left out. */
  *objects(name: string, pathOf = (index: number) => `${this.#pathOf(name)}[${index}]`): Generator<Fields> {
    for (const [index, value] of this.list(name).entries()) {
      const item = Fields.of(value, pathOf(index), this.#problems);
      if (item) yield item;
    }
  }

  #pathOf(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }

  #read<T>(name: string, fits: (value: unknown) => boolean, expected: string, standIn: T): T {
    const value = this.#value[name];
    if (fits(value)) return value as T;
    this.refuse(name, unfit(value, expected));
    return standIn;
  }
}

/** A value for a message: texts shortened, lists and objects only named, since they may be huge or nested too deep. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unfit(value: unknown, expected: string): string {
  if (value === undefined) return `is missing: give ${expected}`;
  if (typeof value === 'string' && !value.isWellFormed())
    return 'holds half a UTF-16 surrogate pair: give valid Unicode';
  return `must be ${expected}, got ${shown(value)}`;
}

// Half a surrogate pair can't be written as UTF-8: two such merchants would become one on the way through a file.
function isUnicode(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed();
}

function isText(value: unknown): value is string {
  return isUnicode(value) && value !== '';
}

function isAmount(value: unknown): boolean {
  return isInteger(value) && value > 0;
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
