import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Place, PushWindow } from './push-window.ts';

/** All that the window lets out now. */
function takeAll(window: PushWindow, now: number): Place[] {
  const places: Place[] = [];
  for (let place = window.take(now); place; place = window.take(now)) places.push(place);
  return places;
}

function failAll(window: PushWindow, now: number): void {
  for (const place of takeAll(window, now)) {
    window.failed(place, now);
    window.leave();
  }
}

test('it begins in single digits, doubles with each round that is acked, and grows by one a round from 3,000 on', () => {
  const window = new PushWindow();
  const sizes: number[] = [];
  let places = takeAll(window, 0);
  for (let round = 0; round < 12; round++) {
    sizes.push(places.length);
    const next: Place[] = [];
    for (const place of places) {
      window.acked(place, 1);
      window.leave();
      next.push(...takeAll(window, 1));
    }
    places = next;
  }
  expect(sizes.slice(0, 10)).toEqual([4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]);
  expect(sizes[10]).toBeGreaterThanOrEqual(3000);
  expect(sizes[11]! - sizes[10]!).toBeLessThanOrEqual(1);
});

test('beyond 3,000 it falls back to there where acks take more than a second', () => {
  const window = new PushWindow();
  let places = takeAll(window, 0);
  while (window.size <= 3001) {
    const [place, ...others] = places as [Place, ...Place[]];
    window.acked(place, 1);
    window.leave();
    places = [...others, ...takeAll(window, 1)];
  }
  for (const place of places.slice(0, 1000)) window.acked({ ...place, startedAt: -5_000 }, 1);
  expect(window.size).toBe(3000);
});

test('what is not used does not grow', () => {
  const window = new PushWindow();
  for (let n = 0; n < 1000; n++) {
    const place = window.take(n)!;
    window.acked(place, n);
    window.leave();
  }
  expect(window.size).toBe(4);
});

test('failures of one moment raise the backoff once, later ones double it up to a minute; an ack lets the next go at once', () => {
  const window = new PushWindow();
  failAll(window, 0);
  expect(window.size).toBe(1);
  let now = 0;
  const pauses: number[] = [];
  for (let n = 0; n < 12; n++) {
    pauses.push(window.resumesAt - now);
    expect(takeAll(window, window.resumesAt - 1)).toEqual([]);
    now = window.resumesAt;
    failAll(window, now);
  }
  expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
  now = window.resumesAt;
  const [place] = takeAll(window, now);
  window.acked(place!, now);
  window.leave();
  expect(takeAll(window, now)).toHaveLength(2);
});

test('an endpoint that fails one push in a hundred is paused for no longer than the least', () => {
  const window = new PushWindow();
  let now = 0;
  for (let n = 1; n <= 1000; n++) {
    now = Math.max(now, window.resumesAt);
    const place = window.take(now)!;
    if (n % 100 === 0) {
      window.failed(place, now);
      expect(window.resumesAt - now).toBe(100);
    } else window.acked(place, now);
    window.leave();
  }
});

test('whatever happens: at least one may go, never more than the window, nothing in a pause, no pause over a minute', () => {
  const act = fc.oneof(
    fc.record({ kind: fc.constant('take' as const) }),
    fc.record({ kind: fc.constantFrom('acked' as const, 'failed' as const, 'leave' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(120_000) }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 300 }), (acts) => {
      const window = new PushWindow();
      const places: Place[] = [];
      let now = 0;
      for (const each of acts) {
        if (each.kind === 'pass') now += each.ms;
        else if (each.kind === 'take') {
          const mayTake = window.outstanding < window.size && now >= window.resumesAt;
          const place = window.take(now);
          expect(place !== undefined).toBe(mayTake);
          if (place) places.push(place);
        } else if (places.length > 0) {
          const [place] = places.splice(each.which % places.length, 1);
          if (each.kind !== 'leave') window[each.kind](place!, now);
          window.leave();
        }
        expect(window.size).toBeGreaterThanOrEqual(1);
        expect(window.outstanding).toBe(places.length);
        expect(window.resumesAt - now).toBeLessThanOrEqual(60_000);
      }
    }),
  );
});
