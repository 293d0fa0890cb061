import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '@dormouse/core';
import { mailAddress } from '../../mail-address.ts';
import { OutsideError } from '../../outside/http.ts';
import { timeLimit } from '../../outside/time-limit.ts';

export interface MailConfig {
  /** `smtp://host:port` or `smtps://user:password@host`. */
  readonly url: string;
  /** The sender's address. */
  readonly from: string;
}

export interface Mail {
  /** One bare address: `ada@example.org`. */
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** A mail as it leaves: checked, with all that tells it from others. */
export interface ReadyMail extends Mail {
  readonly from: string;
  readonly messageId: string;
  readonly idempotencyKey: string;
}

/** How mail goes out. Rejects with what SMTP has for a reason: `responseCode` of a refusal, `code` of a failure. */
export type MailWay = (serverUrl: string, mail: ReadyMail, signal: AbortSignal) => Promise<void>;

const timeoutMs = 30_000;
let way: MailWay = bySmtp;

/** From now on mail goes out another way than by SMTP, as in a simulation. Answers what takes that back. */
export function postBy(other: MailWay): () => void {
  way = other;
  return () => {
    way = bySmtp;
  };
}

/**
 * Sends a mail through SMTP. The idempotency key goes along as `X-Idempotency-Key`, and the Message-ID is made from it,
 * so that a mail sent twice can be told by whoever receives it: SMTP itself does not.
 * At most 30 s. Fails with an OutsideError, which never shows address, subject or text. An abort rejects with the
 * signal's reason.
 */
export async function sendMail(
  config: MailConfig,
  { to, subject, text }: Mail,
  {
    idempotencyKey,
    signal,
    clock = systemClock,
  }: { readonly idempotencyKey: string; readonly signal?: AbortSignal; readonly clock?: Clock },
): Promise<void> {
  signal?.throwIfAborted();
  const who = `mail server at ${new URL(config.url).host}`;
  // One address and no more: nodemailer would take a comma or a line end for the beginning of another.
  if (!mailAddress.test(to)) {
    throw new OutsideError(`${who}: the recipient is no bare mail address; correct the client's contact`, {
      permanent: true,
    });
  }
  using limit = timeLimit(clock, timeoutMs);
  const digest = createHash('sha256').update(idempotencyKey).digest('hex').slice(0, 32);
  const mail = {
    from: config.from,
    to,
    subject: subject.replace(/\p{Cc}+/gu, ' '),
    text,
    messageId: `<${digest}@casework.dormouse>`,
    idempotencyKey,
  };
  try {
    await way(config.url, mail, signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw failure(who, error, limit.signal.aborted);
  }
}

async function bySmtp(serverUrl: string, mail: ReadyMail, signal: AbortSignal): Promise<void> {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({
    url: serverUrl,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    await transport.sendMail({
      from: { name: 'Casework', address: mail.from },
      to: { name: '', address: mail.to },
      subject: mail.subject,
      text: mail.text,
      messageId: mail.messageId,
      headers: { 'X-Idempotency-Key': { prepared: true, value: encodeURI(mail.idempotencyKey) } },
      signal,
    });
  } finally {
    transport.close();
  }
}

/** The server's own words are left out, also as the cause: they may name the address. */
function failure(who: string, error: unknown, timedOut: boolean): OutsideError {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  if (timedOut)
    return new OutsideError(`${who} took longer than ${timeoutMs} ms; try again later`, { permanent: false });
  const permanent = responseCode !== undefined && responseCode >= 500 && responseCode <= 599;
  const what = responseCode === undefined ? `failed with ${code ?? 'an unknown cause'}` : `answered ${responseCode}`;
  const remedy = permanent ? "the same mail will not be taken, check the client's contact" : 'try again later';
  return new OutsideError(`${who} ${what}; ${remedy}`, { permanent });
}
