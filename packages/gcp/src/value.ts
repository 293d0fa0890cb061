/** A field of a document, in the JSON of google.firestore.v1.Value, as far as it is used here. */
export type Value =
  | { readonly stringValue: string }
  | { readonly integerValue: string }
  | { readonly timestampValue: string }
  | { readonly bytesValue: string }
  | { readonly arrayValue: { readonly values?: readonly Value[] } };
export type Fields = Readonly<Record<string, Value>>;

export function text(value: string): Value {
  return { stringValue: value };
}

export function texts(values: readonly string[]): { readonly values: readonly Value[] } {
  return { values: values.map(text) };
}

export function integer(value: number): Value {
  return { integerValue: String(value) };
}

export function bytes(value: Uint8Array): Value {
  return { bytesValue: Buffer.from(value).toString('base64') };
}

/** @param ms epoch milliseconds */
export function time(ms: number): Value {
  return { timestampValue: new Date(ms).toISOString() };
}

export function textOf(value: Value | undefined): string {
  if (value && 'stringValue' in value) return value.stringValue;
  throw unexpected('a text', value);
}

export function bytesOf(value: Value | undefined): Buffer {
  if (value && 'bytesValue' in value) return Buffer.from(value.bytesValue, 'base64');
  throw unexpected('bytes', value);
}

export function textsOf(value: Value | undefined): string[] {
  if (value && 'arrayValue' in value) return (value.arrayValue.values ?? []).map(textOf);
  throw unexpected('a list', value);
}

export function numberOf(value: Value | undefined): number {
  if (value && 'integerValue' in value) return Number(value.integerValue);
  throw unexpected('a number', value);
}

function unexpected(what: string, value: Value | undefined): Error {
  return new Error(
    `a field of Firestore should be ${what} and is ${JSON.stringify(value)?.slice(0, 200)}; something else has written it`,
  );
}
