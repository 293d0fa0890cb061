/** Fields whose value is a secret, whatever it looks like. */
const secretName = '(?:authorization|cookie|passw(?:or)?d|secret|token|api[-_]?key|private[-_]?key)';
const secretField = new RegExp(`^[\\w-]*${secretName}$`, 'i');

const patterns: readonly (readonly [RegExp, string])[] = [
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{6,}/gi, '$1 [redacted]'],
  // A signed token (JWT), and secrets of ours by their prefix.
  // Up to where another may begin: else a line of beginnings is read to its end from each of them.
  [/\beyJ(?:(?!\beyJ)[\w-]){8,}\.[\w-]+\.[\w-]*/g, '[redacted]'],
  [/\b(?:dm[a-z]*|whsec)_[\w+/=-]{16,}/g, '[redacted]'],
  [/\bv1,[\w+/=]{40,}/g, '[redacted]'],
  // Up to the last @ before the path: a password may hold one.
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/?#"']{1,500}@/gi, '$1[redacted]@'],
  // What looks like a field of one, in JSON, an address or a setting: `"stateToken":"…"`, `?token=…`, `PASSWORD=…`.
  [
    new RegExp(`(${secretName}[\\\\"']{0,2}\\s{0,2}[:=]\\s{0,2}[\\\\"']{0,2})[^\\s\\\\"'&,;}\\]]{8,}`, 'gi'),
    '$1[redacted]',
  ],
  // Personal data that has a shape of its own. A host begins with a letter: `zod@4.6.7` is no address.
  [/(?<![\p{L}\p{N}])[\p{L}\p{N}._%+'-]{1,64}@\p{L}[\p{L}\p{N}.-]{0,253}/gu, '[email]'],
  [/(?<![\w+/])\+[1-9](?:[ ().-]{0,2}\d){6,14}/g, '[phone]'],
];

/**
 * Each of the patterns needs one of these: names and ids, which is most of what a log says, are passed with one look instead of
 * eight. Whoever adds a pattern looks whether it does.
 */
const suspicious = /[@+:=_,\s]|eyJ/;

/**
 * A text without secrets (tokens, credentials in addresses, signatures, what stands in a field named so) and without mail
 * addresses and phone numbers (E.164). For all that is logged, journaled or answered about a failure: such texts come from
 * libraries, the outside and handlers, which know nothing of this rule. Names and the like have no shape to be told by;
 * who writes a message leaves them out.
 */
export function redacted(text: string): string {
  if (!suspicious.test(text)) return text;
  return patterns.reduce((kept, [pattern, put]) => kept.replace(pattern, put), text);
}

/** The same for all strings in facts of a log; a field named as a secret is left out whole. */
export function redactedFacts(facts: Record<string, unknown>): Record<string, unknown> {
  return redactedValue(facts, new Set()) as Record<string, unknown>;
}

function redactedValue(value: unknown, above: ReadonlySet<unknown>): unknown {
  if (typeof value === 'string') return redacted(value);
  if (typeof value !== 'object' || value === null) return value;
  if (above.has(value)) return '[circular]';
  if (value instanceof Error) return redacted(value.stack ?? value.message);
  const within = new Set(above).add(value);
  if (Array.isArray(value)) return value.map((each) => redactedValue(each, within));
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      secretField.test(name) && each !== undefined ? '[redacted]' : redactedValue(each, within),
    ]),
  );
}
