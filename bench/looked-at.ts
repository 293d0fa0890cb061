import type { Dispute } from './dispute.ts';
import type { RunningHost } from './running-host.ts';

/** For each service a message about a case that is over: its handler looks and returns, and leaves a log entry. */
const messages: Readonly<Record<string, { readonly topic: string; readonly data: (of: Dispute) => object }>> = {
  intake: { topic: 'workflow.initiate', data: ({ request }) => ({ request }) },
  data: { topic: 'data.fetch', data: ({ request }) => ({ request }) },
  processing: { topic: 'data.analyze', data: ({ data }) => ({ statement: data!.statement }) },
  tracking: { topic: 'workflow.track', data: ({ processing }) => ({ letterId: processing!.letters[0] }) },
  admin: { topic: 'workflow.complete', data: () => ({}) },
  communication: { topic: 'notify.client', data: () => ({ about: 'opened' }) },
};

export const woken = Object.keys(messages);

/** Publishes the message of this service, for it alone. Its id is the cause that the log entry names. */
export async function publishTo(
  host: Pick<RunningHost, 'publish'>,
  service: string,
  dispute: Dispute,
  id: string,
): Promise<void> {
  const { topic, data } = messages[service]!;
  await host.publish(topic, data(dispute), {
    'ce-specversion': '1.0',
    'ce-id': id,
    'ce-type': topic,
    'ce-source': '//dormouse/bench',
    'ce-subject': `workflows/${dispute.id}`,
    'ce-time': new Date().toISOString(),
    'dormouse-to': `${service}.${topic}`,
  });
}
