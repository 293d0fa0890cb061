/** RFC 6902, the part of it that a difference needs. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

type Json = Record<string, unknown>;

/** The patch that turns `before` into `after`. Objects are compared by member, arrays and scalars as a whole. */
export function difference(before: Json | null, after: Json | null): PatchOperation[] {
  if (before === null && after === null) return [];
  if (after === null) return [{ op: 'remove', path: '' }];
  if (before === null) return [{ op: 'add', path: '', value: after }];
  const operations: PatchOperation[] = [];
  compare(before, after, '', operations);
  return operations;
}

/** The document that a patch makes of one. @throws Error where it takes away or replaces what is not there */
export function applyPatch(document: Json | null, patch: readonly PatchOperation[]): Json | null {
  let result: unknown = structuredClone(document);
  for (const operation of patch) {
    if (operation.path === '') {
      result = operation.op === 'remove' ? null : structuredClone(operation.value);
      continue;
    }
    const tokens = operation.path.slice(1).split('/').map(unescapeToken);
    const last = tokens.pop()!;
    const parent = tokens.reduce((at, token) => (isObject(at) ? at[token] : undefined), result);
    if (!isObject(parent) || (operation.op !== 'add' && !Object.hasOwn(parent, last))) {
      throw new Error(`there is nothing at ${operation.path}`);
    }
    if (operation.op === 'remove') delete parent[last];
    else parent[last] = structuredClone(operation.value);
  }
  return result as Json | null;
}

function compare(before: Json, after: Json, path: string, operations: PatchOperation[]): void {
  for (const key of Object.keys(before)) {
    if (after[key] === undefined) operations.push({ op: 'remove', path: `${path}/${escapeToken(key)}` });
  }
  for (const [key, value] of Object.entries(after)) {
    if (value === undefined) continue;
    const old = before[key];
    const at = `${path}/${escapeToken(key)}`;
    if (old === undefined) operations.push({ op: 'add', path: at, value });
    else if (isObject(old) && isObject(value)) compare(old, value, at, operations);
    else if (JSON.stringify(old) !== JSON.stringify(value)) operations.push({ op: 'replace', path: at, value });
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function escapeToken(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function unescapeToken(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}
