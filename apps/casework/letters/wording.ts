import type { Rule } from '../statement/findings.ts';
import { formatMinor } from '../statement/money.ts';

/** What a letter says around its table. */
export interface Wording {
  readonly salutation: string;
  /** Before the table. */
  readonly paragraphs: readonly string[];
  /** After the table. */
  readonly closing: readonly string[];
}

export interface WordingInput {
  readonly reference: string;
  readonly client: { readonly name: string };
  readonly accountId: string;
  readonly deadline: string;
  readonly currency: string;
  readonly charges: readonly unknown[];
  readonly totalMinor: number;
}

/** The letter's words where no agent has supplied any: the same for the same letter. */
export function defaultWording(letter: WordingInput): Wording {
  const total = formatMinor(letter.totalMinor, letter.currency);
  const several = letter.charges.length !== 1;
  const items = several ? `${letter.charges.length} items` : 'one item';
  return {
    salutation: 'Dear Sir or Madam,',
    paragraphs: [
      `We act for ${letter.client.name}, who has authorised us to dispute wrong charges on account ${letter.accountId}.`,
      `Our review of the account statement found ${items} on your side that our client does not accept. ` +
        `${several ? 'They come' : 'It comes'} to ${total}. The table names ${several ? 'each line' : 'the line'} of ` +
        `the statement and the reason for the dispute.`,
    ],
    closing: [
      `Please refund ${total} to the account, or explain in writing why you hold the ${several ? 'items' : 'item'} to ` +
        `be right, by ${longDate(letter.deadline)}. Quote the reference ${letter.reference} in your answer.`,
      'Should no answer reach us by then, we will advise our client to take the matter to the card issuer and to the ' +
        'competent ombudsman.',
    ],
  };
}

const reasons: Readonly<Record<Rule, string>> = {
  charge_after_cancellation: 'Charged after the contract was cancelled',
  recurring_overcharge: 'Above the agreed recurring price',
  duplicate_charge: 'Charged a second time',
  fee_over_schedule: 'Fee above the maximum of the fee schedule',
  unlisted_fee: 'Fee that the fee schedule does not list',
  missing_refund: 'Promised refund that was not paid',
  arithmetic_error: 'Opening balance and lines do not add up to the closing balance',
};

/** A rule in plain words. */
export function reason(rule: Rule): string {
  return reasons[rule];
}

const months = 'January February March April May June July August September October November December'.split(' ');

/** `2025-01-29` as `29 January 2025`. */
export function longDate(date: string): string {
  const [year, month, day] = date.split('-');
  return `${Number(day)} ${months[Number(month) - 1]} ${year}`;
}
