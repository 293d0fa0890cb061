import { Answers, type WebhookTarget } from './answers.ts';
import { bankRoute } from './bank.ts';
import { counterpartiesRoute } from './counterparties.ts';
import { Faults } from './faults.ts';
import { serveRoutes } from './http-server.ts';
import { serveMail } from './mail.ts';
import { sandboxPage } from './page.ts';
import { SandboxRecord } from './record.ts';
import { smsRoute } from './sms.ts';

export interface SandboxOptions {
  /** Where `sandbox.jsonl` is kept. Made if missing. */
  readonly directory: string;
  /** Where the counterparties' answers go, and the secret they are signed with. */
  readonly webhook: WebhookTarget;
  /** What to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** How long a counterparty takes to answer. Default one second. */
  readonly replyAfterMs?: number;
  /** Epoch ms. Default the wall clock. */
  readonly now?: () => number;
}

export interface Sandbox {
  /** What services need to reach this outside world instead of the real one. */
  readonly environment: Readonly<Record<string, string>>;
  /** All that the sandbox listens on. */
  readonly ports: readonly number[];
  /** Serves `/sandbox` and below; to be mounted where people look. */
  handle(request: Request): Promise<Response>;
  /** Frees the ports. What is still to be answered is answered by the next sandbox on the same directory. */
  close(): Promise<void>;
}

/**
 * The outside world, played locally: a bank with the sample statements, counterparties that answer later by webhook, an
 * SMS gateway and a mail server that keep what they are given. What they were asked to do survives a crash.
 * Rejects if the directory cannot be written.
 */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { directory, webhook, host = '127.0.0.1', replyAfterMs = 1_000, now = Date.now } = options;
  const faults = new Faults(now);
  const answers = new Answers({ webhook, replyAfterMs, now });
  const record = await SandboxRecord.open(directory, now, (entry) => answers.restore(entry));
  const routes = [
    bankRoute(),
    counterpartiesRoute(record, (submission) => answers.add(submission, record)),
    smsRoute(record),
  ];
  const [http, mail] = await Promise.all([serveRoutes(routes, faults, host), serveMail(record, faults, host)]);
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
    async close() {
      await Promise.all([http.close(), mail.close(), answers.close()]);
      await record.close();
    },
  };
}
