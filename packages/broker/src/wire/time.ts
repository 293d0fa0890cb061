/** Seconds and nanoseconds, as google.protobuf.Duration and Timestamp have them. Of a negative duration both are negative. */
export interface SecondsAndNanos {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Source: google/protobuf/duration.proto. Ten thousand years. */
const maxDurationSeconds = 315_576_000_000n;

/** `"1.5s"`; undefined where it is no duration. */
export function durationOf(text: string): SecondsAndNanos | undefined {
  const [, sign, whole, fraction = ''] = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text) ?? [];
  if (whole === undefined || BigInt(whole) > maxDurationSeconds) return undefined;
  const factor = sign ? -1 : 1;
  // `|| 0`: of "-1s" the nanoseconds are 0, and not -0.
  return { seconds: BigInt(factor) * BigInt(whole), nanos: factor * Number(fraction.padEnd(9, '0')) || 0 };
}

export function writeDuration({ seconds, nanos }: SecondsAndNanos): string {
  const sign = seconds < 0n || nanos < 0 ? '-' : '';
  return `${sign}${seconds < 0n ? -seconds : seconds}${fractionOf(Math.abs(nanos))}s`;
}

/** RFC 3339, with any offset; undefined where it is no time of the years 1 to 9999. */
export function timestampOf(text: string): SecondsAndNanos | undefined {
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return undefined;
  const [, second, fraction = '', offset] = match;
  const ms = Date.parse(`${second}${offset}`.toUpperCase());
  if (Number.isNaN(ms) || second!.startsWith('0000')) return undefined;
  return { seconds: BigInt(ms / 1000), nanos: Number(fraction.padEnd(9, '0')) };
}

export function writeTimestamp({ seconds, nanos }: SecondsAndNanos): string {
  return new Date(Number(seconds) * 1000).toISOString().replace(/\.000Z$/, `${fractionOf(nanos)}Z`);
}

/** None, or three, six or nine digits. */
function fractionOf(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0');
  return `.${digits.replace(/(?:000){1,2}$/, '')}`;
}
