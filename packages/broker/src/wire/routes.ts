import { BrokerError } from '../broker-error.ts';
import { type Method, methods } from './wire.ts';

/** What a path of REST asks for. */
export interface Route {
  readonly method: Method;
  /** `*`: the body is the request; else the field that it is, or undefined for none. */
  readonly body: string | undefined;
  /** Fields by their paths: `topic.name`. */
  readonly variables: Readonly<Record<string, string>>;
}

interface Rule {
  readonly method: Method;
  readonly body: string | undefined;
  readonly pattern: RegExp;
  /** Of the pattern's groups, in their order. */
  readonly variables: readonly string[];
}

/** By HTTP's verb. */
const rules = Map.groupBy(
  methods.flatMap((method) => method.http.map(({ verb, path, body }) => ({ verb, ...ruleOf(method, path, body) }))),
  ({ verb }) => verb,
);

/** @throws BrokerError NOT_FOUND */
export function routeOf(verb: string, path: string): Route {
  for (const { method, body, pattern, variables } of rules.get(verb) ?? []) {
    const match = pattern.exec(path);
    if (!match) continue;
    const values = variables.map((name, index) => [name, decoded(match[index + 1]!)]);
    return { method, body, variables: Object.fromEntries(values) };
  }
  throw new BrokerError('NOT_FOUND', `there is nothing at ${verb} ${path}`);
}

// `/v1/{topic=projects/*/topics/*}:publish` as a pattern with a group for `topic`. Source: google/api/http.proto.
function ruleOf(method: Method, path: string, body: string | undefined): Rule {
  const variables: string[] = [];
  const source = path.replace(/\{([\w.]+)=([^}]+)\}/g, (_all, name: string, inner: string) => {
    variables.push(name);
    return `(${inner})`;
  });
  // The last segment ends where a verb begins: a colon is in no id, but may be in a project's.
  const pattern = source.replace(/\*(?=[^/]*$)/, '[^/:]+').replaceAll('/*', '/[^/]+');
  return { method, body, pattern: new RegExp(`^${pattern}$`), variables };
}

/** @throws BrokerError INVALID_ARGUMENT */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new BrokerError('INVALID_ARGUMENT', `"${text}" has a percent sign that encodes nothing`, { cause });
  }
}
