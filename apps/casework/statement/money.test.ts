import { expect, test } from 'vitest';
import { currencyExponent } from './currency.ts';
import { formatMinor } from './money.ts';

test.each([
  [1230, 'EUR', 'EUR 12.30'],
  [5, 'EUR', 'EUR 0.05'],
  [0, 'EUR', 'EUR 0.00'],
  [123456789, 'USD', 'USD 1,234,567.89'],
  [1200, 'JPY', 'JPY 1,200'],
  [7, 'JPY', 'JPY 7'],
  [1200, 'KWD', 'KWD 1.200'],
  [-5, 'KWD', 'KWD -0.005'],
  [12345, 'CLF', 'CLF 1.2345'],
  [Number.MAX_SAFE_INTEGER, 'EUR', 'EUR 90,071,992,547,409.91'],
])('%d minor units of %s read %s', (amountMinor, currency, text) => {
  expect(formatMinor(amountMinor, currency)).toBe(text);
});

test('an amount of an unknown currency is not written down', () => {
  expect(() => formatMinor(1, 'EURO')).toThrow('currency "EURO" is not known: give an ISO 4217 code');
});

test('every currency that Intl knows and that has a minor unit is known', () => {
  const withoutMinorUnit = ['XDR', 'XSU'];
  const unknown = Intl.supportedValuesOf('currency').filter((code) => currencyExponent(code) === undefined);
  expect(unknown.filter((code) => !withoutMinorUnit.includes(code))).toEqual([]);
});

test.each(['XXX', 'XAU', 'XTS', 'eur', 'EURO', '', 'toString'])('%j is no currency of a statement', (code) => {
  expect(currencyExponent(code)).toBeUndefined();
});
