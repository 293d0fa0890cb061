const dayMs = 86_400_000;

/** Whether a text is a day of the Gregorian calendar as `YYYY-MM-DD`, years 0001 to 9999: `2025-02-29` is not. */
export function isCalendarDate(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || text.startsWith('0000')) return false;
  const ms = Date.parse(text);
  // Date.parse may roll 30 February over into March: only a date that comes back unchanged is real.
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

/** Whether a text is a calendar date, or one with a time and its zone, in the form of ISO 8601 that JSON uses. */
export function isTimestamp(text: string): boolean {
  const [date, time] = text.split('T', 2) as [string, string?];
  if (!isCalendarDate(date) || text === `${date}T`) return false;
  return (
    time === undefined ||
    (/^\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/.test(time) && !Number.isNaN(Date.parse(text)))
  );
}

/** Whole days from one calendar date to another; negative when the second is the earlier one. */
export function daysBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / dayMs;
}

/** Orders calendar dates, earliest first; for a stable sort, so that equal dates keep their positions. */
export function compareDates(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
