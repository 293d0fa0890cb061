import { expect, test } from 'vitest';
import { Listening } from './listening.ts';

test.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost', 'LOCALHOST'])('%s is this machine’s own', (hostname) => {
  expect(new Listening(hostname).isOpen).toBe(false);
});

test.each([
  '0.0.0.0',
  '::',
  '10.0.0.1',
  '::ffff:127.0.0.1',
  '127.example.com',
  '127.0.0.1.example.com',
  'localhost.example.com',
])('at %s others may ask, so everything needs a token', (hostname) => {
  expect(new Listening(hostname).isOpen).toBe(true);
});
