import type { Case } from '../../case.ts';
import { formatMinor } from '../../statement/money.ts';

export type Matter = 'opened' | 'submitted' | 'closed' | 'rejected' | 'escalated' | 'cancelled';

export interface Wording {
  readonly subject: string;
  readonly text: string;
  readonly sms: string;
}

/** What the client reads about a turn of the case. */
export function wordingFor(
  matter: Matter,
  found: Case,
  clientName: string,
  /** Of a rejection. */
  reasons: readonly string[] = [],
): Wording {
  const { id, processing } = found;
  const sum = processing && formatMinor(processing.disputedMinor, processing.currency);
  const count = processing?.letters.length ?? 0;
  const letters = count === 1 ? 'one letter' : `${count} letters`;
  const why = reasons.map((reason) => `  - ${reason}`).join('\n');
  const [subject, body] = {
    opened: ['We have opened your case', 'We are fetching your statement and will look for wrong charges.'],
    submitted: [
      'Your letters are on their way',
      `We found ${sum} in wrong charges and sent ${letters}. We watch for the answers and remind where none comes.`,
    ],
    closed: ['Your case is closed', closing(found)],
    rejected: ['We could not take your case', `This is why:\n${why}`],
    // Why is for operators: it names our inner workings.
    escalated: ['A person looks after your case now', 'They go on where we could not, and will be in touch.'],
    cancelled: [
      'Your case is withdrawn',
      'We stopped all work on it, and tell every counterparty who has not answered.',
    ],
  }[matter] as [string, string];
  return {
    subject: `${subject} (${id})`,
    text: `Dear ${clientName},\n\n${body}\n\nYour case: ${id}\n\nCasework\n`,
    sms: `Casework ${id}: ${subject}.`,
  };
}

function closing({ processing, admin }: Case): string {
  const decided = admin?.decision ? 'A person went through your case and closed it. ' : '';
  if (!processing) return `${decided}We had no statement to look through.`;
  const { disputedMinor, currency } = processing;
  if (processing.letters.length === 0) return `${decided}We found no wrong charges on your statement.`;
  const { acceptedMinor = 0 } = admin ?? {};
  const accepted = formatMinor(acceptedMinor, currency);
  return acceptedMinor === disputedMinor
    ? `${decided}All counterparties accepted: ${accepted} will be returned to you.`
    : `${decided}Of the ${formatMinor(disputedMinor, currency)} we disputed, ${accepted} will be returned to you.`;
}
