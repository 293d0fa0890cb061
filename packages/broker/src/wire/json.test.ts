import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BrokerError } from '../broker-error.ts';
import { readMessage, writeMessage } from './json.ts';
import { durationOf, timestampOf, writeDuration, writeTimestamp } from './time.ts';
import { messageType } from './wire.ts';

const v1 = (name: string) => messageType(`google.pubsub.v1.${name}`);

test.each([
  ['snake_case', 'Subscription', { ack_deadline_seconds: 20 }, { ackDeadlineSeconds: 20 }],
  ['a number in a string', 'Subscription', { ackDeadlineSeconds: '20' }, { ackDeadlineSeconds: 20 }],
  ['an enum by number', 'Schema', { type: 2 }, { type: 'AVRO' }],
  ['an enum by name', 'Schema', { type: 'AVRO' }, { type: 'AVRO' }],
  ['base64 for URLs', 'PubsubMessage', { data: '-_8' }, { data: '+/8=' }],
  ['int64 as a number', 'StreamingPullRequest', { maxOutstandingMessages: 5 }, { maxOutstandingMessages: '5' }],
  ['null as absent', 'Subscription', { labels: null, filter: null }, {}],
  ['a duration', 'Subscription', { messageRetentionDuration: '600.5s' }, { messageRetentionDuration: '600.5s' }],
  [
    'any key in a map',
    'Topic',
    { labels: JSON.parse('{"__proto__":"a"}') },
    { labels: JSON.parse('{"__proto__":"a"}') },
  ],
])('%s is read', (_what, type, given, read) => {
  expect(readMessage(v1(type), given)).toStrictEqual(read);
});

test('property: what is base64 as it should be passes as it is, and nothing else does', () => {
  const text = fc.string({ unit: fc.constantFrom(...'AZaz09+/==-_ \n!é𝄞'), maxLength: 12 });
  const pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
  fc.assert(
    fc.property(text, (data) => {
      const given = { data };
      let read: unknown;
      try {
        read = readMessage(v1('PubsubMessage'), given);
      } catch {
        read = undefined;
      }
      expect(read === given).toBe(pattern.test(data));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['Topic', { nonsense: 1 }, '', 'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.'],
  [
    'UpdateTopicRequest',
    { topic: { nonsense: 1 } },
    'topic',
    'Invalid JSON payload received. Unknown name "nonsense" at \'topic\': Cannot find field.',
  ],
  [
    'PublishRequest',
    { messages: [{ data: 'aGk=' }, { data: 'no base64!' }] },
    'messages[1].data',
    'Invalid value at \'messages[1].data\' (TYPE_BYTES), "no base64!"',
  ],
  [
    'Subscription',
    { ackDeadlineSeconds: 'soon' },
    'ack_deadline_seconds',
    'Invalid value at \'ack_deadline_seconds\' (TYPE_INT32), "soon"',
  ],
  ['Subscription', { labels: [] }, 'labels', "Invalid value at 'labels' (Map), a list"],
  ['Topic', { labels: { a: 1 } }, 'labels[a].value', "Invalid value at 'labels[a].value' (TYPE_STRING), 1"],
  [
    'Subscription',
    { retryPolicy: { minimumBackoff: '10' } },
    'retry_policy.minimum_backoff',
    'Invalid value at \'retry_policy.minimum_backoff\' (type.googleapis.com/google.protobuf.Duration), "10"',
  ],
  [
    'SeekRequest',
    { time: 'yesterday' },
    'time',
    'Invalid value at \'time\' (type.googleapis.com/google.protobuf.Timestamp), "yesterday"',
  ],
  ['Schema', { type: 9 }, 'type', "Invalid value at 'type' (google.pubsub.v1.Schema.Type), 9"],
])('%s %j is refused, and the field is named', (type, given, field, message) => {
  const refused = () => readMessage(v1(type), given);
  expect(refused).toThrow(BrokerError);
  expect(refused).toThrow(message);
  try {
    refused();
  } catch (error) {
    const violation = { field, description: expect.stringContaining(message) };
    expect((error as BrokerError).details).toEqual([
      { '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [violation] },
    ]);
  }
});

test('of fields that exclude each other only one may be set', () => {
  const both = { time: '2026-01-01T00:00:00Z', snapshot: 'projects/p/snapshots/s' };
  expect(() => readMessage(v1('SeekRequest'), both)).toThrow("oneof field 'target' is already set");
});

test('a struct that nests without end is refused', () => {
  let parameters: Record<string, unknown> = {};
  for (let depth = 0; depth < 100_000; depth++) parameters = { deeper: parameters };
  const topic = { messageTransforms: [{ aiInference: { unstructuredInference: { parameters } } }] };
  expect(() => readMessage(v1('Topic'), topic)).toThrow('nests too deep');
});

test('what is default is left out of an answer, and enums are numbers where asked for', () => {
  const subscription = {
    name: 'n',
    filter: '',
    detached: false,
    ackDeadlineSeconds: 0,
    labels: {},
    pushConfig: {},
    state: 'ACTIVE',
  };
  const type = v1('Subscription');
  expect(writeMessage(type, subscription)).toStrictEqual({ name: 'n', pushConfig: {}, state: 'ACTIVE' });
  expect(writeMessage(type, subscription, { enumsAsNumbers: true })).toMatchObject({ state: 1 });
});

test.each(['0s', '10s', '1.500s', '-1.000001s', '-0.500s', '315576000000s'])(
  'the duration %s is written as read',
  (text) => {
    expect(writeDuration(durationOf(text)!)).toBe(text);
  },
);

test.each([
  ['2026-01-02T03:04:05Z', '2026-01-02T03:04:05Z'],
  ['2026-01-02T03:04:05.1Z', '2026-01-02T03:04:05.100Z'],
  ['2026-01-02T03:04:05.000000001Z', '2026-01-02T03:04:05.000000001Z'],
  ['2026-01-02T03:04:05+01:00', '2026-01-02T02:04:05Z'],
  ['1969-12-31T23:59:59.5Z', '1969-12-31T23:59:59.500Z'],
])('the time %s is %s', (text, written) => {
  expect(writeTimestamp(timestampOf(text)!)).toBe(written);
});

test.each(['10', 's', '1e3s', '1.0000000001s', '315576000001s', '2026-01-01', '2026-13-01T00:00:00Z'])(
  '%s is neither a duration nor a time',
  (text) => {
    expect([durationOf(text), timestampOf(text)]).toEqual([undefined, undefined]);
  },
);
