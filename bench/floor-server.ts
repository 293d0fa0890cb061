// The floor beneath any Pub/Sub server of Node over REST: node bench/floor-server.ts PORT
// It parses what comes, holds it in an array and answers in the form of the wire; nothing is checked, kept or leased.
const { createServer } = process.getBuiltinModule('node:http');

interface Received {
  readonly ackId: string;
  readonly message: { readonly data?: string; readonly messageId: string };
}

let published = 0;
let held: Received[] = [];
const waiting: (() => void)[] = [];

function answerTo(path: string, body: string): object | undefined {
  if (body === '') return {};
  const request = JSON.parse(body);
  if (path.endsWith(':publish')) {
    const messageIds = (request.messages as { data?: string }[]).map((message) => {
      const messageId = String(++published).padStart(20, '1');
      held.push({ ackId: `ack ${messageId}`, message: { ...message, messageId } });
      return messageId;
    });
    return { messageIds };
  }
  if (!path.endsWith(':pull')) return {};
  if (held.length === 0) return undefined;
  const receivedMessages = held.slice(0, request.maxMessages);
  held = held.slice(request.maxMessages);
  return { receivedMessages };
}

const server = createServer((incoming, outgoing) => {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    const answer = () => {
      const found = answerTo(incoming.url!, body);
      if (!found) {
        waiting.push(answer);
        return;
      }
      const text = JSON.stringify(found);
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
      outgoing.writeHead(200, headers).end(text);
      if (held.length > 0) waiting.shift()?.();
    };
    answer();
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
