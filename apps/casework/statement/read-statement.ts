import { parseStatementCsv } from './csv.ts';
import { isObject } from './fields.ts';
import type { Problem } from './problems.ts';
import { parseStatement, type StatementResult } from './statement.ts';

/**
 * A statement out of the text of a file or answer, JSON or CSV. A CSV names neither account nor currency: the account is
 * the file's name without its extension, the currency EUR where none is given.
 */
export function readStatement(
  text: string,
  { fileName, currency = 'EUR' }: { fileName: string; currency?: string },
): StatementResult {
  if (!isJsonText(text, fileName)) {
    const accountId = fileName.replace(/^.*[/\\]/s, '').replace(/(?<=.)\.[^.]*$/s, '');
    return parseStatementCsv(text, { accountId, currency });
  }
  const json = parseJson(text);
  return 'problems' in json ? json : parseStatement(json.value);
}

/** JSON by its first character, which no CSV header begins with, or by its file name. */
export function isJsonText(text: string, fileName: string): boolean {
  return /^\uFEFF?\s*[[{]/.test(text) || fileName.toLowerCase().endsWith('.json');
}

/** The value of a JSON text, or the one problem that stopped the reading, at its line and column. */
export function parseJson(text: string): { readonly value: unknown } | { readonly problems: Problem[] } {
  const json = text.replace(/^\uFEFF/, '');
  const error = jsonError(json);
  if (!error) return { value: JSON.parse(json) };
  const before = json.slice(0, positionOf(error, json)).split(/\r\n|\r|\n/);
  const path = `line ${before.length}, column ${before.at(-1)!.length + 1}`;
  const what = error.message.replace(/( in JSON)? at position .*$|, .* is not valid JSON$/s, '');
  return { problems: [{ path, message: `malformed JSON: ${what}` }] };
}

/** Whether a JSON value is meant as a statement, well-formed or not, rather than as a request that holds or names one. */
export function isBareStatement(value: unknown): boolean {
  if (!isObject(value)) return false;
  const hasAny = (...names: string[]) => names.some((name) => Object.hasOwn(value, name));
  return hasAny('accountId', 'holder', 'lines', 'period') && !hasAny('statement', 'clientId', 'client', 'consent');
}

function jsonError(json: string): SyntaxError | undefined {
  try {
    JSON.parse(json);
    return undefined;
  } catch (error) {
    return error as SyntaxError;
  }
}

/**
 * V8 names the position of most errors, but not of an unexpected token. A text cut off before that token is merely
 * unfinished, one that reaches it has the same error however long it is: so it is found by bisection.
 */
function positionOf(error: SyntaxError, json: string): number {
  const named = /at position (\d+)/.exec(error.message)?.[1];
  if (named !== undefined) return Number(named);
  if (!isUnexpectedToken(error)) return json.length;
  let [valid, broken] = [0, json.length];
  while (broken - valid > 1) {
    const middle = (valid + broken) >>> 1;
    if (isUnexpectedToken(jsonError(json.slice(0, middle)))) broken = middle;
    else valid = middle;
  }
  return valid;
}

function isUnexpectedToken(error: SyntaxError | undefined): boolean {
  return error?.message.startsWith('Unexpected token') ?? false;
}
