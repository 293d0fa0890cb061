import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readStatement, requestForBareStatement } from '@dormouse/casework';

const samples = join(import.meta.dirname, '../../apps/casework/samples');

/** A kind of case: the same request each time, and so the same end, whatever dies on the way. */
export interface SampleCase {
  readonly name: string;
  readonly request: Readonly<Record<string, unknown>>;
  /** The findings that lie beside the sample. */
  readonly findings?: readonly unknown[];
  /** It is withdrawn at some moment, so how far it came is not the same each time. */
  readonly cancelled?: boolean;
}

/** Environment of a system, and the cases that have one end under it. */
export interface Temper {
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly cases: readonly SampleCase[];
}

const statements = ['arithmetic.json', 'chinese.json', 'clean.json', 'duplicates.json', 'fees.json', 'mixed.json'];

/** Counterparties answer, or refuse; nobody's deadline passes. */
const patient: Temper = {
  name: 'patient',
  environment: {},
  cases: [
    fromBank('closed'),
    fromBank('closed again'),
    fromBank('escalated', { sandbox: { replies: { 'FitZone Gym': 'reject' } } }),
    { ...fromBank('cancelled'), cancelled: true },
    { name: 'unpaid', request: request('requests/unpaid.json') },
    fromBank('unknown account', { statement: bankStatement('nobody') }),
    ...[...statements, 'card-export.csv'].map(fromStatement),
  ],
};

/** Deadlines of seconds: who keeps silent is reminded once, then given up on. */
const hasty: Temper = {
  name: 'hasty',
  environment: { CASEWORK_RESPONSE_DEADLINE: '1500ms', CASEWORK_REMINDERS: '1' },
  cases: [
    { ...fromBank('silent', { sandbox: { replies: silence('household') } }) },
    { ...fromBank('silent again', { sandbox: { replies: silence('household') } }) },
    { ...fromBank('cancelled', { sandbox: { replies: silence('household') } }), cancelled: true },
    fromStatement('clean.json'),
    { name: 'unpaid', request: request('requests/unpaid.json') },
  ],
};

/** Of the systems that run at a time. */
export const tempers: readonly Temper[] = [patient, hasty, patient, hasty, patient];

function fromBank(name: string, changes: Readonly<Record<string, unknown>> = {}): SampleCase {
  const found = changes.statement === undefined ? { findings: findings('household') } : {};
  return { name, request: { ...request('sample-case.json'), ...changes }, ...found };
}

function fromStatement(file: string): SampleCase {
  const read = readStatement(readFileSync(join(samples, file), 'utf8'), { fileName: file, currency: 'EUR' });
  if ('problems' in read) throw new Error(`${file}: ${JSON.stringify(read.problems)}`);
  const name = file.slice(0, file.indexOf('.'));
  return { name, request: { ...requestForBareStatement(read.statement) }, findings: findings(name) };
}

function bankStatement(accountId: string): unknown {
  return { ...(request('sample-case.json').statement as object), accountId };
}

function request(file: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(samples, file), 'utf8'));
}

function findings(sample: string): { readonly merchant: string }[] {
  return JSON.parse(readFileSync(join(samples, `${sample}.expected.json`), 'utf8'));
}

function silence(sample: string): Record<string, 'silent'> {
  return Object.fromEntries(findings(sample).map(({ merchant }) => [merchant, 'silent']));
}
