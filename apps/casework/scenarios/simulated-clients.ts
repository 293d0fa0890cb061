import type { DeadLetter } from '@dormouse/core';
import type { Act, Facts, World } from '@dormouse/testing';
import type { Case } from '../case.ts';
import { signWebhook } from '../webhook/standard-webhook.ts';
import { doubleCharges } from './double-charges.ts';
import { type Outside, webhookSecret } from './simulated-outside.ts';

export const client = { name: 'Ada Example', email: 'ada@client.example', phone: '+4930123456' };
const merchants = ['Corner Café', 'City Gym', 'City Pool'];
const replies = ['accept', 'reject', 'silent'] as const;

/** What one case is about, and what befalls it. */
export function caseActs(world: World, nth: number): Act[] {
  const { chance, command, clock } = world;
  const draw = <T>(what: string, among: readonly T[]): T => chance.pick(`${what} of case ${nth}`, among);
  let id: string | undefined;
  const whenOpen = (name: string, after: Act['after'], run: (id: string) => Promise<unknown>): Act => ({
    name: `${name} ${nth}`,
    after: after!,
    run: async () => {
      if (id !== undefined) await run(id);
    },
  });
  const acts: Act[] = [
    {
      name: `open case ${nth}`,
      after: draw('opening', ['0s', '1s', '40s', '2d']),
      run: async () => {
        const opened = await command('create', { body: requestOf(draw) });
        if (opened.ok) id = (opened.output as { workflowId: string }).workflowId;
      },
    },
  ];
  const cancels = () =>
    whenOpen('cancel case', draw('cancelling', ['2s', '3s', '5s', '1m', '2d', '30d', '40d']), (workflow) =>
      command('cancel', { params: { id: workflow }, body: { reason: 'changed my mind' } }),
    );
  const decides = (after: Act['after']) =>
    whenOpen(`decide after ${after} on case`, after, (workflow) =>
      command('decide', {
        params: { id: workflow },
        body: { decision: draw(`decision ${after}`, ['accept', 'close']), reason: 'looked into it' },
      }),
    );
  // A counterparty's own webhook, which its repeat may follow: to whatever letter, at whatever time.
  const answers = (after: Act['after']) =>
    whenOpen(`answer after ${after} in case`, after, async (workflow) => {
      const timestamp = new Date(clock.now()).toISOString();
      const data = {
        workflowId: workflow,
        letterId: draw('answered letter', ['L01', 'L02']),
        decision: draw('answer', ['accepted', 'rejected']),
      };
      const body = JSON.stringify({ type: 'dispute.answered', timestamp, data });
      for (let times = draw('repeats', [1, 1, 3]); times > 0; times--) {
        const headers = signWebhook({ id: `msg_own_${nth}`, at: clock.now(), body, secret: webhookSecret });
        await command('respond', { headers: { ...headers }, body });
      }
    });
  if (chance.chance(`case ${nth} is cancelled`, 0.25)) acts.push(cancels());
  if (chance.chance(`case ${nth} is decided early`, 0.3)) acts.push(decides('35d'));
  if (chance.chance(`case ${nth} is answered of itself`, 0.3))
    acts.push(answers(draw('answering', ['3s', '2d', '31d', '70d'])));
  acts.push(decides('95d'));
  return acts;
}

function requestOf(draw: <T>(what: string, among: readonly T[]) => T): unknown {
  const count = draw('merchants', [0, 1, 1, 2, 3]);
  const named = merchants.slice(0, count);
  const fromBank = {
    source: 'sandbox-bank',
    accountId: 'household-1014',
    period: { from: '2025-01-01', to: '2025-01-31' },
  };
  return {
    clientId: 'client-ada',
    client,
    consent: {
      signedAt: '2025-02-03T09:15:00Z',
      scopes: draw('consent', [true, true, true, true, true, true, true, false])
        ? ['fetch_statement', 'dispute_on_behalf']
        : ['fetch_statement'],
    },
    payment: {
      reference: 'PAY-2025-0041',
      status: draw('payment', ['paid', 'paid', 'paid', 'paid', 'paid', 'paid', 'paid', 'open']),
    },
    documents: [{ kind: 'identity', name: 'passport.pdf' }],
    statement:
      draw('statement', ['inline', 'inline', 'inline', 'bank']) === 'bank'
        ? fromBank
        : { inline: doubleCharges(named) },
    sandbox: {
      replies: Object.fromEntries(named.map((merchant) => [merchant, draw(`reply of ${merchant}`, replies)])),
    },
  };
}

/** An operator at the end: what died is sent back, and some of the cases that wait for a person are closed. */
export async function tidyUp({ chance, command }: World, { documents }: Facts<Outside>): Promise<void> {
  for (const { id, data } of documents.in<DeadLetter>('dead-letters')) {
    if (data.state !== 'open') continue;
    // A notice to operators may be left alone; everything else is work that somebody waits for.
    if (data.topic === 'notify.admin' && chance.chance(`discards ${id}`, 0.5)) {
      await command('discardDeadLetter', { params: { id }, body: { reason: 'read it here' } });
    } else await command('redriveDeadLetter', { params: { id } });
  }
  for (const { id, data } of documents.in<Case>('workflows')) {
    if (data.status !== 'escalated' || !chance.chance(`closes ${id}`, 0.6)) continue;
    await command('decide', { params: { id }, body: { decision: 'close', reason: 'it has waited for long' } });
  }
}
