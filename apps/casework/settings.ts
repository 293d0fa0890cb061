import { type Duration, durationMs } from '@dormouse/core';

/** Settings of Casework, from the environment. Read when used: a service needs few of them. */
export const settings = {
  get bankUrl() {
    return required('CASEWORK_BANK_URL');
  },
  get counterpartyUrl() {
    return required('CASEWORK_COUNTERPARTY_URL');
  },
  get smtpUrl() {
    return required('CASEWORK_SMTP_URL');
  },
  get smsUrl() {
    return required('CASEWORK_SMS_URL');
  },
  get webhookSecret() {
    return required('CASEWORK_WEBHOOK_SECRET');
  },
  /** Sender of all mail. */
  get mailFrom() {
    return process.env.CASEWORK_MAIL_FROM ?? 'cases@casework.example';
  },
  get adminEmail() {
    return process.env.CASEWORK_ADMIN_EMAIL ?? 'operators@casework.example';
  },
  /** How long a counterparty has to answer, and again after each reminder. Default 30d. */
  get responseDeadline(): Duration {
    const value = process.env.CASEWORK_RESPONSE_DEADLINE ?? '30d';
    durationMs(value, 'CASEWORK_RESPONSE_DEADLINE');
    return value as Duration;
  },
  /** Reminders before a case is escalated. Default 2. */
  get reminders(): number {
    const value = Number(process.env.CASEWORK_REMINDERS ?? 2);
    if (!Number.isInteger(value) || value < 0 || value > 10)
      throw new Error(`CASEWORK_REMINDERS must be 0 to 10, got "${process.env.CASEWORK_REMINDERS}"`);
    return value;
  },
  /** Hosts a statement may be fetched from, with commas; `loopback` stands for this machine. Default loopback. */
  get statementHosts(): string[] {
    return (process.env.CASEWORK_STATEMENT_HOSTS ?? 'loopback')
      .split(',')
      .map((host) => host.trim())
      .filter(Boolean);
  },
  /** Ports of this system on loopback, which no statement is fetched from. */
  get ownPorts(): number[] {
    return (process.env.DORMOUSE_OWN_PORTS ?? '').split(',').filter(Boolean).map(Number);
  },
};

function required(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set; the sandbox sets it on a developer's machine, elsewhere the deployment must`);
  return value;
}
