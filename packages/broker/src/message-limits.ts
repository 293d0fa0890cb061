import { BrokerError } from './broker-error.ts';
import type { PubsubMessage } from './log.ts';

/** Source of the limits: google.pubsub.v1 and its quotas. */
const limits = {
  messagesAPublish: 1000,
  attributes: 100,
  keyBytes: 256,
  valueBytes: 1024,
  messageBytes: 10_000_000,
  publishBytes: 10_000_000,
  orderingKeyBytes: 1024,
};

/** @throws BrokerError naming the message, the limit and what it has */
export function checkMessages(messages: readonly PubsubMessage[]): void {
  const refuse = (what: string) => {
    throw new BrokerError('INVALID_ARGUMENT', what);
  };
  if (messages.length === 0 || messages.length > limits.messagesAPublish) {
    refuse(`a publish takes 1 to ${limits.messagesAPublish} messages, got ${messages.length}`);
  }
  let bytes = 0;
  for (const [index, { data, attributes, orderingKey = '' }] of messages.entries()) {
    const entries = Object.entries(attributes);
    const where = `messages[${index}]`;
    if (data === '' && entries.length === 0) refuse(`${where} has neither data nor attributes; give it one of them`);
    if (data.length * 0.75 > limits.messageBytes) refuse(`${where}: data is over ${limits.messageBytes} bytes`);
    if (Buffer.byteLength(orderingKey) > limits.orderingKeyBytes)
      refuse(`${where}: the ordering key is over ${limits.orderingKeyBytes} bytes`);
    if (orderingKey !== (messages[0]!.orderingKey ?? '')) {
      throw new BrokerError(
        'FAILED_PRECONDITION',
        `${where}: in a single publish request, all messages must have no ordering key or all the same`,
      );
    }
    bytes += data.length * 0.75;
    if (entries.length > limits.attributes && entries.filter(isPublishers).length > limits.attributes)
      refuse(`${where} has ${entries.length} attributes; at most ${limits.attributes} are allowed`);
    for (const [key, value] of entries) {
      if (key === '' || Buffer.byteLength(key) > limits.keyBytes)
        refuse(`${where}: an attribute key must have 1 to ${limits.keyBytes} bytes`);
      if (Buffer.byteLength(value) > limits.valueBytes)
        refuse(`${where}: attribute "${key}" is over ${limits.valueBytes} bytes`);
      // Clients keep traces and schemas in attributes of theirs.
      if (/^goog(?!client_)/.test(key)) refuse(`${where}: attribute "${key}" must not begin with "goog"`);
      bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    }
  }
  if (bytes > limits.publishBytes)
    refuse(`the messages have ${Math.ceil(bytes)} bytes; at most ${limits.publishBytes} are allowed`);
}

/** What is said of its schema is the broker's. */
function isPublishers([key]: readonly [string, string]): boolean {
  return !key.startsWith('googclient_schema');
}
