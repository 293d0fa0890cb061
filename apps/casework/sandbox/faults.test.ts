import { expect, test } from 'vitest';
import { Faults, readFault } from './faults.ts';

test('a fault is met so many times, or for so long, or until it is taken back', () => {
  let now = 0;
  const faults = new Faults(() => now);
  faults.set({ target: 'bank', mode: 'reset', times: 2 });
  faults.set({ target: 'sms', mode: 'hang', forMs: 1000 });
  faults.set({ target: 'mail', mode: 'status' });
  expect([faults.take('bank'), faults.take('bank'), faults.take('bank')].map((fault) => fault?.mode)).toEqual([
    'reset',
    'reset',
    undefined,
  ]);
  now = 999;
  expect(faults.take('sms')?.mode).toBe('hang');
  now = 1000;
  expect(faults.take('sms')).toBeUndefined();
  expect(faults.take('counterparties')).toBeUndefined();
  expect(faults.list()).toEqual([{ target: 'mail', mode: 'status' }]);
  faults.clear();
  expect(faults.take('mail')).toBeUndefined();
});

test('all that is wrong with a fault is said at once', () => {
  expect(readFault({ target: 'moon', mode: 'explode', status: 200, times: 0.5 })).toEqual({
    problems: [
      'target: must be one of bank, counterparties, sms, mail',
      'mode: must be one of status, hang, reset, malformed',
      'status: must be a whole number from 400 to 599',
      'times: must be a whole number from 1 to 1000000',
    ],
  });
  expect(readFault(undefined)).toMatchObject({ problems: { length: 2 } });
  expect(readFault({ target: 'bank', mode: 'status', status: 500, more: 1 })).toEqual({
    fault: { target: 'bank', mode: 'status', status: 500 },
  });
});

test('a fault may be for some requests only, by what their address holds', () => {
  const faults = new Faults(() => 0);
  faults.set({ target: 'counterparties', mode: 'status', matching: 'City Gym' });
  const to = (merchant: string) => new URL(`http://sandbox/submissions?${new URLSearchParams({ merchant })}`);
  expect(faults.take('counterparties', to('Corner Café'))).toBeUndefined();
  expect(faults.take('counterparties', to('City Gym'))).toMatchObject({ matching: 'City Gym' });
  expect(faults.take('counterparties')).toBeUndefined();
});
