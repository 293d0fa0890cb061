import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { World } from '@dormouse/testing';
import { type HttpWay, reachOutsideBy } from '../outside/http.ts';
import { Answers } from '../sandbox/answers.ts';
import type { Route } from '../sandbox/http-server.ts';
import { mailEffect } from '../sandbox/mail.ts';
import { type EffectEntry, type Entry, type Ledger, SandboxRecord } from '../sandbox/record.ts';
import { outsideRoutes } from '../sandbox/sandbox.ts';
import { postBy } from '../services/communication/mail.ts';

export const webhookSecret = 'whsec_c2ltdWxhdGlvbg==';
/** Settings of the services: nothing is there, and nobody is asked there. */
export const environment = {
  CASEWORK_BANK_URL: 'http://bank.example',
  CASEWORK_COUNTERPARTY_URL: 'http://counterparty.example',
  CASEWORK_SMS_URL: 'http://sms.example',
  CASEWORK_SMTP_URL: 'smtp://mail.example',
  CASEWORK_WEBHOOK_SECRET: webhookSecret,
};
const webhookUrl = 'http://casework.example/api/responses';
/** How long counterparties take: from at once to after the second reminder. */
const replyAfterMs = [1_000, 60_000, 3_600_000, 10 * 86_400_000, 31 * 86_400_000, 65 * 86_400_000];

/** What happened outside. */
export interface Outside {
  readonly effects: readonly EffectEntry[];
  /** What was asked for under a key that had been used for something else. */
  readonly conflicts: readonly string[];
}

/** The sandbox's own bank, counterparties, mail and SMS, in memory: services reach them by the simulated calls. */
export function playOutside(world: World): Outside {
  const effects: EffectEntry[] = [];
  const conflicts: string[] = [];
  const record = new SandboxRecord(ledgerOf(effects), world.clock.now);
  const webhook = { url: webhookUrl, secret: webhookSecret };
  const answers = new Answers({
    webhook,
    replyAfterMs: world.chance.pick('counterparties answer after', replyAfterMs),
    clock: world.clock,
  });
  const routes = outsideRoutes(record, answers);
  const http: HttpWay = async (call, signal) => {
    const { status, body } =
      call.url.href === webhookUrl ? await handOver(call, world) : await ask(call, { routes, world, signal });
    if (status === 422) conflicts.push(`${call.name}: ${call.url.pathname}`);
    return { status, content: contentOf(body), end: () => {} };
  };
  world.onEnd(reachOutsideBy(http));
  world.onEnd(
    postBy(async (_server, mail, signal) => {
      const content = JSON.stringify([mail.to, mail.subject, mail.text]);
      const call = { key: mail.idempotencyKey, content, signal, refusal: () => 'refused' };
      const captured = await world.outside.call('mail server', call, () =>
        record.capture(mailEffect({ ...mail, to: [mail.to] }, mail.idempotencyKey), mail.idempotencyKey),
      );
      if (captured === 'conflict') conflicts.push(`mail: ${mail.subject}`);
      if (captured === 'refused') {
        const responseCode = world.chance.pick(`refusal of ${mail.idempotencyKey}`, [451, 451, 550]);
        throw Object.assign(new Error('refused'), { responseCode });
      }
      if (captured === 'conflict') throw Object.assign(new Error('key in use'), { responseCode: 554 });
    }),
  );
  return { effects, conflicts };
}

type Call = Parameters<HttpWay>[0];
interface Answer {
  readonly status: number;
  readonly body: string | Readable;
}

function ask(
  { name, method, url, headers = {}, body = '' }: Call,
  { routes, world, signal }: { routes: readonly Route[]; world: World; signal: AbortSignal },
): Promise<Answer> {
  const route = routes.find((each) => each.method === method && each.path.test(url.pathname))!;
  const bytes = Buffer.from(body);
  const content = createHash('sha256').update(`${method} ${url}\n`).update(bytes).digest('hex');
  const key = headers['idempotency-key'] ?? headers['x-idempotency-key'];
  // For a while, or for good: then a person has to look at it.
  const refusal = () => ({ status: world.chance.pick(`refusal of ${key ?? url}`, [503, 503, 400]), body: '' });
  return world.outside.call<Answer>(name, { key, content, signal, refusal }, () =>
    route.answer({ url, headers: { ...headers }, body: bytes }),
  );
}

/** A counterparty's webhook comes in at the console, as any other command does. */
async function handOver({ headers = {}, body = '' }: Call, world: World): Promise<Answer> {
  const answer = await world.tryCommand('respond', { headers, body: String(body) });
  return { status: answer.ok ? 201 : answer.refused.code === 'document.missing' ? 404 : 400, body: '' };
}

async function* contentOf(body: string | Readable): AsyncIterable<Uint8Array> {
  if (typeof body === 'string') yield Buffer.from(body);
  else for await (const chunk of body) yield chunk as Uint8Array;
}

function ledgerOf(effects: EffectEntry[]): Ledger {
  return {
    append: async (entry: Entry) => {
      if (!('repeat' in entry)) effects.push(entry);
    },
    entries: async function* () {
      yield* effects;
    },
    close: async () => {},
  };
}
