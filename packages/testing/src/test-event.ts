import { type Envelope, encodeMessage, type Message } from '@dormouse/core';

/** An event as a service would publish it, of no cause, with what a test says of it. */
export function testEvent({
  type,
  ...said
}: Pick<Envelope, 'id' | 'type' | 'subject' | 'data'> & Partial<Envelope>): Message {
  return encodeMessage({
    type,
    source: '//test',
    time: 0,
    dataschema: `${type}/1`,
    tenant: 'default',
    causationId: undefined,
    traceparent: undefined,
    ...said,
  });
}
