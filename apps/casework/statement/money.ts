import { currencyExponent } from './currency.ts';

/**
 * An amount as people read it: `EUR 12.30`, `JPY 1,200`, `KWD -0.005`. Exact for every safe integer.
 * Throws a RangeError for a currency that is not known.
 */
export function formatMinor(amountMinor: number, currency: string): string {
  const exponent = currencyExponent(currency);
  if (exponent === undefined) throw new RangeError(`currency "${currency}" is not known: give an ISO 4217 code`);
  const digits = String(Math.abs(amountMinor)).padStart(exponent + 1, '0');
  const whole = digits.slice(0, digits.length - exponent).replace(/\B(?=(?:\d{3})+$)/g, ',');
  const decimals = exponent === 0 ? '' : `.${digits.slice(-exponent)}`;
  return `${currency} ${amountMinor < 0 ? '-' : ''}${whole}${decimals}`;
}
