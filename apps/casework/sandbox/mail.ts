import { createHash } from 'node:crypto';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { SMTPServer, SMTPServerDataStream, SMTPServerSession } from 'smtp-server';
import type { Fault, Faults } from './faults.ts';
import type { MailEffect, SandboxRecord } from './record.ts';
import { workflowIdIn } from './workflow-id.ts';

const maxBytes = 1_000_000;
/** Of a mail's text that the record keeps. */
const keptCharacters = 4_000;

export interface MailServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Takes mail by SMTP on a free port and delivers none of it. A mail with an `X-Idempotency-Key` seen before is taken
 * again and counted as a repeat; with another content it is refused with 554. The SMTP protocol itself (smtp-server,
 * 4 MB) is loaded when the first mail comes.
 */
export async function serveMail(record: SandboxRecord, faults: Faults, host: string): Promise<MailServer> {
  const sockets = new Map<string, Socket>();
  let protocol: Promise<SMTPServer> | undefined;
  const server = createServer((socket) => {
    const key = `${socket.remoteAddress}:${socket.remotePort}`;
    sockets.set(key, socket);
    socket.once('close', () => sockets.delete(key));
    protocol ??= openProtocol((stream, session) => {
      const peer = `${session.remoteAddress}:${session.remotePort}`;
      return receive(stream, session, { record, faults, socketOf: () => sockets.get(peer) });
    });
    protocol.then((smtp) => smtp.connect(socket)).catch((error: Error) => socket.destroy(error));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets.values()) socket.destroy();
      await closed;
    },
  };
}

type Receive = (stream: SMTPServerDataStream, session: SMTPServerSession) => Promise<string>;

async function openProtocol(receive: Receive): Promise<SMTPServer> {
  const { SMTPServer } = await import('smtp-server');
  const smtp = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    size: maxBytes,
    logger: false,
    onData(stream, session, callback) {
      receive(stream, session).then((message) => callback(null, message), callback);
    },
  });
  // Of a connection that broke: its client knows.
  smtp.on('error', () => undefined);
  return smtp;
}

/** Takes in one mail. The message is the server's answer; an error's `responseCode` is the code of a refusal. */
async function receive(
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  { record, faults, socketOf }: { record: SandboxRecord; faults: Faults; socketOf: () => Socket | undefined },
): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (!stream.sizeExceeded) chunks.push(chunk);
  }
  if (stream.sizeExceeded) throw refusal(552, `The mail must have at most ${maxBytes} bytes`);
  const fault = faults.take('mail');
  if (fault?.mode === 'status') throw refusal(fault.status ?? 451, 'A fault is set for mail');
  const { mail, key } = await read(Buffer.concat(chunks), session);
  if ((await record.capture(mail, key)) === 'conflict') {
    throw refusal(554, 'This X-Idempotency-Key was used for another mail: use a new one');
  }
  if (fault) await lose(fault, faults, socketOf());
  return 'Taken';
}

/** The mail was taken; its sender shall not learn it. */
async function lose(fault: Fault, faults: Faults, socket: Socket | undefined): Promise<void> {
  if (fault.mode === 'hang' && socket) await faults.hold(socket);
  if (fault.mode === 'reset') socket?.resetAndDestroy();
  if (fault.mode === 'malformed') socket?.end('malformed\r\n');
  await new Promise<never>(() => undefined);
}

function refusal(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}

async function read(
  source: Buffer,
  { envelope }: SMTPServerSession,
): Promise<{ mail: MailEffect; key: string | undefined }> {
  const { default: PostalMime } = await import('postal-mime');
  const mail = await PostalMime.parse(source);
  const header = (name: string): string | undefined => mail.headers.find(({ key }) => key === name)?.value;
  const text = (mail.text ?? '').replace(/\r?\n$/, '');
  const key = header('x-idempotency-key');
  const from = envelope.mailFrom ? envelope.mailFrom.address : '';
  const to = envelope.rcptTo.map(({ address }) => address);
  return { key, mail: mailEffect({ from, to, subject: mail.subject ?? '', text }, key) };
}

/** A mail as the record has it. */
export function mailEffect(
  { from, to, subject, text }: Pick<MailEffect, 'from' | 'to' | 'subject' | 'text'>,
  key: string | undefined,
): MailEffect {
  const workflowId = workflowIdIn(key ?? '', subject, text);
  return {
    kind: 'mail',
    ...(workflowId === undefined ? {} : { workflowId }),
    from,
    to,
    subject,
    text: text.slice(0, keptCharacters),
    sha256: createHash('sha256').update(text).digest('hex'),
  };
}
