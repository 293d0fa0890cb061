/** What a definition or a message is not, and where: the words after the names of schema and message. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
}

export type SchemaType = 'AVRO' | 'PROTOCOL_BUFFER';
export type Encoding = 'JSON' | 'BINARY';

/** A schema's definition, understood. */
export interface Definition {
  /** @throws SchemaError where the data is no message of this schema */
  check(data: Buffer, encoding: Encoding): void;
  /** @throws SchemaError where a message of the one could not be read by the other, in either direction */
  checkRevises(older: Definition): void;
}

/**
 * Understands a definition. What each type needs is loaded with the first schema of it: a broker without schemas does not
 * pay for it.
 * @throws SchemaError
 */
export async function readDefinition(type: SchemaType, text: string): Promise<Definition> {
  if (type === 'AVRO') return new (await import('./avro.ts')).AvroDefinition(text);
  return new (await import('./protobuf.ts')).ProtobufDefinition(text);
}

/** Integers that a double cannot hold come as BigInt. @throws SchemaError */
export function readJson(data: Buffer): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new SchemaError('the data is no UTF-8, as JSON is');
  }
  try {
    if (!/\d{16}/.test(text)) return JSON.parse(text);
    return JSON.parse(text, (_key, value, context?: { source?: string }) =>
      typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
        ? BigInt(context!.source!)
        : value,
    );
  } catch {
    throw new SchemaError('the data is no JSON');
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value in a message of an error: its kind only, since what is published may be personal. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'bigint') return 'a number';
  return { object: 'an object', string: 'a string', number: 'a number', boolean: 'a boolean' }[typeof value as string]!;
}

/** @param path `.items[3].name`; empty for the whole */
export function at(path: string, what: string): SchemaError {
  return new SchemaError(path === '' ? what : `${path.replace(/^\./, '')}: ${what}`);
}
