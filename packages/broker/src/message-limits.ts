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
  const firstKey = messages[0]!.orderingKey ?? '';
  let bytes = 0;
  // Every message passes here: nothing is made of it but for what is wrong.
  for (let index = 0; index < messages.length; index++) {
    const { data, attributes, orderingKey = '' } = messages[index]!;
    const count = countOf(attributes);
    const where = () => `messages[${index}]`;
    if (data === '' && count === 0) refuse(`${where()} has neither data nor attributes; give it one of them`);
    if (data.length * 0.75 > limits.messageBytes) refuse(`${where()}: data is over ${limits.messageBytes} bytes`);
    if (Buffer.byteLength(orderingKey) > limits.orderingKeyBytes)
      refuse(`${where()}: the ordering key is over ${limits.orderingKeyBytes} bytes`);
    if (orderingKey !== firstKey) {
      throw new BrokerError(
        'FAILED_PRECONDITION',
        `${where()}: in a single publish request, all messages must have no ordering key or all the same`,
      );
    }
    bytes += data.length * 0.75;
    if (count > limits.attributes && Object.keys(attributes).filter(isPublishers).length > limits.attributes)
      refuse(`${where()} has ${count} attributes; at most ${limits.attributes} are allowed`);
    for (const key in attributes) {
      const value = attributes[key]!;
      if (key === '' || Buffer.byteLength(key) > limits.keyBytes)
        refuse(`${where()}: an attribute key must have 1 to ${limits.keyBytes} bytes`);
      if (Buffer.byteLength(value) > limits.valueBytes)
        refuse(`${where()}: attribute "${key}" is over ${limits.valueBytes} bytes`);
      // Clients keep traces and schemas in attributes of theirs.
      if (/^goog(?!client_)/.test(key)) refuse(`${where()}: attribute "${key}" must not begin with "goog"`);
      bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    }
  }
  if (bytes > limits.publishBytes)
    refuse(`the messages have ${Math.ceil(bytes)} bytes; at most ${limits.publishBytes} are allowed`);
}

function countOf(attributes: PubsubMessage['attributes']): number {
  let count = 0;
  for (const _key in attributes) count++;
  return count;
}

/** What is said of its schema is the broker's. */
function isPublishers(key: string): boolean {
  return !key.startsWith('googclient_schema');
}
