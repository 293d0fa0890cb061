import { expect } from 'vitest';
import type { RunningSystem } from '../running-system.ts';

/** Publishes `parcel.sent` about a parcel, as any client of the broker may. */
export async function send(system: RunningSystem, parcel: string, data: unknown, id = `sent-${parcel}`): Promise<void> {
  const attributes = {
    'ce-specversion': '1.0',
    'ce-id': id,
    'ce-type': 'parcel.sent',
    'ce-source': '//clerk',
    'ce-subject': `workflows/${parcel}`,
    'ce-time': new Date().toISOString(),
    'ce-tenant': 'default',
  };
  const message = {
    attributes,
    orderingKey: `workflows/${parcel}`,
    data: Buffer.from(JSON.stringify(data)).toString('base64'),
  };
  const answer = await fetch(`${system.brokerUrl}/v1/projects/dormouse/topics/parcel.sent:publish`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [message] }),
  });
  expect(answer.status).toBe(200);
}
