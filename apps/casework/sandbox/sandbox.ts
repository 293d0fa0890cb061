import { type Clock, type Sandbox, type SandboxOptions as SystemSandboxOptions, systemClock } from '@dormouse/core';
import { Answers } from './answers.ts';
import { bankRoute } from './bank.ts';
import { counterpartiesRoute, withdrawalsRoute } from './counterparties.ts';
import { Faults } from './faults.ts';
import { type Route, serveRoutes } from './http-server.ts';
import { serveMail } from './mail.ts';
import { sandboxPage } from './page.ts';
import { SandboxRecord } from './record.ts';
import { RecordFile } from './record-file.ts';
import { smsRoute } from './sms.ts';

/** The directory (made if missing) keeps `sandbox.jsonl`; the counterparties' answers go to the webhook. */
export interface SandboxOptions extends Omit<SystemSandboxOptions, 'clock'> {
  /** What to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** How long a counterparty takes to answer. Default one second. */
  readonly replyAfterMs?: number;
  /** Default the wall clock. */
  readonly clock?: Clock;
}

/** The outside's HTTP interfaces, and what they do. */
export function outsideRoutes(record: SandboxRecord, answers: Answers): Route[] {
  return [
    bankRoute(),
    counterpartiesRoute(record, (submission) => answers.add(submission, record)),
    withdrawalsRoute(record, {
      knows: (letter) => answers.knows(letter),
      onWithdrawal: (letter) => answers.withdraw(letter),
    }),
    smsRoute(record),
  ];
}

/**
 * The outside world, played locally: a bank with the sample statements, counterparties that answer later by webhook, an
 * SMS gateway and a mail server that keep what they are given. What they were asked to do survives a crash, and what is
 * still to be answered when it closes is answered by the next sandbox on the same directory.
 * Rejects if the directory cannot be written.
 */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { directory, webhook, host = '127.0.0.1', replyAfterMs = 1_000, clock = systemClock } = options;
  const faults = new Faults(clock.now);
  const answers = new Answers({ webhook, replyAfterMs, clock });
  const record = new SandboxRecord(await RecordFile.open(directory), clock.now);
  await record.restore((entry) => answers.restore(entry));
  const [http, mail] = await Promise.all([
    serveRoutes(outsideRoutes(record, answers), faults, host),
    serveMail(record, faults, host),
  ]);
  answers.start(record);
  const url = `http://${host}:${http.port}`;
  return {
    environment: {
      CASEWORK_BANK_URL: url,
      CASEWORK_COUNTERPARTY_URL: url,
      CASEWORK_SMS_URL: url,
      CASEWORK_SMTP_URL: `smtp://${host}:${mail.port}`,
      CASEWORK_WEBHOOK_SECRET: webhook.secret,
    },
    ports: [http.port, mail.port],
    handle: sandboxPage({ record, faults, answers }),
    underWay: () => ({ answering: answers.answering, holding: faults.holding }),
    async close() {
      await Promise.all([http.close(), mail.close(), answers.close()]);
      await record.close();
    },
  };
}
