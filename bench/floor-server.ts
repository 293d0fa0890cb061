// The floor beneath any Pub/Sub server of Node over REST: node bench/floor-server.ts PORT [FILE]
// It parses what comes, holds it in an array and answers in the form of the wire; nothing is checked, kept or leased. With a file it
// answers a publish when its bytes are synced, as they came, those of one sync together: in a file that never grows, the cheapest sync there is.
import { closeSync, fdatasync, fdatasyncSync, openSync, write, writeSync } from 'node:fs';

const { createServer } = process.getBuiltinModule('node:http');

interface Received {
  readonly ackId: string;
  readonly message: { readonly data?: string; readonly messageId: string };
}

let published = 0;
let held: Received[] = [];
const waiting: (() => void)[] = [];

const fileBytes = 16_000_000;
const [, , port, path] = process.argv;
const fd = path === undefined ? undefined : openSync(path, 'w');
if (fd !== undefined) {
  writeSync(fd, Buffer.alloc(fileBytes));
  fdatasyncSync(fd);
  process.on('exit', () => closeSync(fd));
}
let unsynced: { readonly body: Buffer; readonly synced: () => void }[] = [];
let isSyncing = false;
let at = 0;

/** Calls back when these bytes are on disk. */
function keep(body: Buffer, synced: () => void): void {
  unsynced.push({ body, synced });
  if (!isSyncing) sync(fd!);
}

function sync(fd: number): void {
  const group = unsynced;
  unsynced = [];
  isSyncing = group.length > 0;
  if (!isSyncing) return;
  const bytes = Buffer.concat(group.map(({ body }) => body));
  if (at + bytes.length > fileBytes) at = 0;
  write(fd, bytes, 0, bytes.length, at, (failed) => {
    if (failed) throw failed;
    at += bytes.length;
    fdatasync(fd, (failed) => {
      if (failed) throw failed;
      for (const { synced } of group) synced();
      sync(fd);
    });
  });
}

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
    const bytes = Buffer.concat(chunks);
    const body = bytes.toString();
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
    if (fd !== undefined && incoming.url!.endsWith(':publish')) keep(bytes, answer);
    else answer();
  });
});
server.listen(Number(port), '127.0.0.1');
