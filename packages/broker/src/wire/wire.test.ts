import { expect, test } from 'vitest';
import { describeWire } from '../../scripts/describe-wire.ts';
import described from './pubsub-v1.json' with { type: 'json' };
import { methods } from './wire.ts';

test('the wire is described as Google’s own client describes it', () => {
  // Else: node packages/broker/scripts/describe-wire.ts
  expect(described).toEqual(describeWire());
});

test('every method but the stream can be reached over REST', () => {
  const unreachable = methods.filter(({ http }) => http.length === 0).map(({ name }) => name);
  expect(unreachable).toEqual(['StreamingPull']);
});
