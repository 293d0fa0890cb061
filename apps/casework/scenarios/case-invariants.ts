import { type FileRef, sha256 } from '@dormouse/core';
import { type Facts, type Invariant, invariant } from '@dormouse/testing';
import { type Case, isOver, type Letter } from '../case.ts';
import type { EffectEntry } from '../sandbox/record.ts';
import type { Finding } from '../statement/findings.ts';
import { client } from './simulated-clients.ts';
import type { Outside } from './simulated-outside.ts';

type CaseFacts = Facts<Outside>;

/** A case with all that is its own. */
interface Found {
  readonly id: string;
  readonly data: Case;
  readonly letters: readonly Letter[];
  readonly findings: readonly Finding[];
  readonly effects: readonly EffectEntry[];
  /** Of what is in it: a reference does not tell. */
  readonly hashOf: (file: FileRef) => string;
}

const operators = 'operators@casework.example';
const reminders = 2;
const subjects = {
  closed: 'Your case is closed',
  rejected: 'We could not take your case',
  cancelled: 'Your case is withdrawn',
};

export const caseInvariants: readonly Invariant<Outside>[] = [
  ofEachCase('every case comes to an end, or waits for a person', ({ data }) =>
    isOver(data.status) || data.status === 'escalated' ? [] : [`it is ${data.status}`],
  ),
  ofEachCase('no letter is without a finding, and none claims another sum', ({ letters, findings }) =>
    letters.flatMap(({ id, merchant, amountMinor }) => {
      const due = sumOf(findings.filter((finding) => finding.merchant === merchant));
      return due === amountMinor && due > 0 ? [] : [`letter ${id} claims ${amountMinor}, its findings come to ${due}`];
    }),
  ),
  ofEachCase('the money disputed is what was found', ({ data, letters, findings }) => {
    const disputed = data.processing?.disputedMinor ?? 0;
    const [found, claimed] = [sumOf(findings), sumOf(letters)];
    return disputed === found && disputed === claimed
      ? []
      : [`${disputed} disputed, ${found} found, ${claimed} claimed`];
  }),
  ofEachCase('nothing is submitted twice, and what is submitted is the letter', ({ letters, effects, hashOf }) => {
    const submitted = effects.filter((effect) => effect.kind === 'submission');
    const twice = repeated(submitted.map(({ reference }) => reference)).map(
      (reference) => `${reference} was submitted again`,
    );
    const others = submitted.flatMap(({ letterId, merchant, amountMinor, sha256: given }) => {
      const letter = letters.find(({ id }) => id === letterId);
      const same =
        letter?.merchant === merchant &&
        letter.amountMinor === amountMinor &&
        letter.file &&
        hashOf(letter.file) === given;
      return same ? [] : [`${merchant} was given another letter than ${letterId}`];
    });
    return [...twice, ...others];
  }),
  ofEachCase('the client is told each thing once, and the outcome for certain', ({ id, data, effects }) => {
    const mails = effects.filter((effect) => effect.kind === 'mail').filter(({ to }) => to[0] === client.email);
    const messages = effects.filter((effect) => effect.kind === 'sms');
    const twice = [...repeated(mails.map(({ subject }) => subject)), ...repeated(messages.map(({ text }) => text))];
    const outcome = isOver(data.status) ? subjects[data.status as keyof typeof subjects] : undefined;
    const isTold = (texts: readonly string[]) => outcome === undefined || texts.some((text) => text.includes(outcome));
    return [
      ...twice.map((text) => `the client was told twice: ${text}`),
      ...(isTold(mails.map(({ subject }) => subject)) ? [] : [`no mail says that ${id} is ${data.status}`]),
      ...(isTold(messages.map(({ text }) => text)) ? [] : [`no text message says that ${id} is ${data.status}`]),
    ];
  }),
  ofEachCase('whoever stays silent is reminded twice, then given up on', ({ data, letters, effects }) =>
    letters.flatMap(({ id, status }) => {
      const times = effects.filter((effect) => effect.kind === 'submission' && effect.letterId === id).length;
      if (times > 1 + reminders) return [`letter ${id} was handed in ${times} times`];
      if (status === 'unanswered' && times !== 1 + reminders)
        return [`letter ${id} was given up on after ${times - 1} reminders`];
      // Whoever decides or withdraws earlier spares the rest of the reminders.
      const ended = data.status === 'cancelled' || data.admin?.decision !== undefined;
      return status === 'submitted' && !ended ? [`nobody waits for the answer to letter ${id} any more`] : [];
    }),
  ),
  ofEachCase('compliance is reviewed before a case closes', ({ data: { status, admin }, letters }) => {
    if (status !== 'closed' || admin?.decision?.kind === 'close') return [];
    const problems = admin?.reviewedAt === undefined ? ['it closed without a review'] : [];
    const open = letters.filter(({ status: of }) => of !== 'accepted');
    if (!admin?.decision && open.length > 0) problems.push(`nobody decided on letters ${open.map(({ id }) => id)}`);
    if (!admin?.decision && admin?.notes?.length) problems.push('it closed over objections');
    return problems;
  }),
  ofEachCase('what is to be returned is what counterparties accepted', ({ data: { status, admin }, letters }) => {
    const accepted = sumOf(letters.filter((letter) => letter.status === 'accepted'));
    return status !== 'closed' || admin?.acceptedMinor === accepted
      ? []
      : [`${admin?.acceptedMinor} said, ${accepted} accepted`];
  }),
  ofEachCase('of a withdrawn case nobody keeps an unanswered letter', ({ data, letters, effects }) => {
    if (data.status !== 'cancelled') return [];
    const out = new Set(effects.flatMap((effect) => (effect.kind === 'submission' ? [effect.letterId] : [])));
    const withdrawn = new Set(effects.flatMap((effect) => (effect.kind === 'withdrawal' ? [effect.letterId] : [])));
    return letters.flatMap(({ id, status }) =>
      out.has(id) && !['accepted', 'rejected'].includes(status) && !withdrawn.has(id)
        ? [`letter ${id} is out, and ${status}`]
        : [],
    );
  }),
  ofEachCase('a case that was rejected at the door has asked nobody anything', ({ data, letters, effects }) =>
    data.intake?.approved === false && (letters.length > 0 || effects.some(({ kind }) => kind === 'submission'))
      ? ['it has letters']
      : [],
  ),
  invariant('no timer of a case outlives it', ({ documents }) =>
    documents.in<Case>('workflows').flatMap(({ id, data }) =>
      documents
        .in<{ name: string; consumed?: true }>(`timers/${id}/named`)
        .filter(({ data: timer }) => isOver(data.status) && !timer.consumed)
        .map(({ data: { name } }) => `${id} is ${data.status}, and has the timer "${name}"`),
    ),
  ),
  invariant('no idempotency key stands for two things', ({ outside }) => outside.conflicts),
  invariant('what is personal is in no log, and reaches only whom it is about', ({ log, outside }) => {
    const told = outside.effects.flatMap((effect) => (effect.kind === 'mail' ? effect.to : []));
    const strangers = told.filter((address) => address !== client.email && address !== operators);
    const text = JSON.stringify(log);
    const leaked = Object.values(client).filter((value) => text.includes(value));
    return [
      ...strangers.map((address) => `a mail went to ${address}`),
      ...leaked.map((value) => `the log holds ${value}`),
    ];
  }),
];

function ofEachCase(name: string, check: (found: Found) => readonly string[]): Invariant<Outside> {
  return invariant(name, (facts: CaseFacts) =>
    facts.documents.in<Case>('workflows').flatMap(({ ref, id, data }) => {
      const findings = data.processing ? read<Finding[]>(facts, data.processing.findings) : [];
      const letters = facts.documents.in<Letter>(`${ref}/letters`).map((letter) => letter.data);
      const effects = facts.outside.effects.filter(({ workflowId }) => workflowId === id);
      const hashOf = ({ key }: FileRef) => sha256(facts.files.get(key)!);
      return check({ id, data, letters, findings, effects, hashOf }).map((problem) => `${id}: ${problem}`);
    }),
  );
}

function read<T>({ files }: CaseFacts, { key }: FileRef): T {
  return JSON.parse(Buffer.from(files.get(key)!).toString()) as T;
}

function sumOf(parts: readonly { readonly amountMinor: number }[]): number {
  return parts.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
}

function repeated(texts: readonly string[]): string[] {
  return texts.filter((text, index) => texts.indexOf(text) !== index);
}
