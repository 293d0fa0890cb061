import { defaultTenant, encodeMessage, type Message, type Ref, refOf, workflows } from '@dormouse/core';
import { stopReached } from './journey/system.ts';
import { note } from './journey-client.ts';

export function journeyOf(id: string): Ref {
  return refOf(workflows, `JN-${id}`);
}

/** What begins a journey. */
export function firstStop(id: string, subject: Ref): Message {
  const { name, version } = stopReached;
  return encodeMessage({
    id,
    type: name,
    source: '//bench',
    subject,
    time: Date.now(),
    dataschema: `${name}/${version}`,
    tenant: defaultTenant,
    causationId: undefined,
    traceparent: undefined,
    data: { stop: 1, note },
  });
}
