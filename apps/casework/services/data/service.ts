import { type ActivityContext, on, service } from '@dormouse/core';
import { disputeCase, grounds, isOver, isoTime, onward } from '../../case.ts';
import type { CaseRequest, StatementSource } from '../../case-request/case-request.ts';
import { dataAnalyze } from '../../contracts/data-analyze.ts';
import { dataFetch } from '../../contracts/data-fetch.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { OutsideError } from '../../outside/http.ts';
import { settings } from '../../settings.ts';
import { readStatement } from '../../statement/read-statement.ts';
import type { StatementResult } from '../../statement/statement.ts';
import { fetchBankStatement } from './bank.ts';
import { fetchStatementText, StatementRefused } from './statement-url.ts';

const halfAMinute = { attempts: 5, minBackoff: '1s', maxBackoff: '30s' } as const;

export default service('data', [
  on(
    dataFetch,
    async ({ data }, step) => {
      const found = await step.workflow(disputeCase);
      if (isOver(found.data.status)) return;
      const request: CaseRequest = JSON.parse(await step.files.text(data.request));
      // Remembered: whatever else moves the case meanwhile, the outside is asked once.
      const fetched = await step.run(
        'fetch statement',
        data.request.sha256,
        async (_request, context) => {
          const result = await retrieve(request.statement, context);
          if ('problems' in result) return result;
          return { file: await step.files.put('statement.json', JSON.stringify(result.statement), { personal: true }) };
        },
        // The bank's outages pass. An address the client gave may never answer, and he waits to hear so.
        // What is wrong with a statement quotes it.
        { personal: true, ...('url' in request.statement && { retry: halfAMinute }) },
      );
      const updatedAt = isoTime(step.now);
      if ('problems' in fetched) {
        const reasons = fetched.problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
        found.update({ status: 'rejected', currentPhase: 7, updatedAt });
        (await step.document(grounds, 'rejected')).create({ outcome: 'rejected', reasons });
        step.publish(notifyClient, { about: 'rejected' });
        return;
      }
      const statement = fetched.file;
      found.update({ ...onward(found.data, 'processing'), data: { statement, fetchedAt: updatedAt }, updatedAt });
      step.publish(dataAnalyze, { statement });
    },
    { retry: halfAMinute },
  ),
]);

/** The statement, or why there is none that could come later: that is the client's to mend, not ours to retry. */
async function retrieve(source: StatementSource, { signal, clock }: ActivityContext): Promise<StatementResult> {
  try {
    if ('inline' in source) return { statement: source.inline };
    if ('url' in source) {
      const { statementHosts, ownPorts } = settings;
      const text = await fetchStatementText(source.url, { allowedHosts: statementHosts, ownPorts, signal, clock });
      return readStatement(text, { fileName: new URL(source.url).pathname });
    }
    const { accountId, period } = source;
    const text = await fetchBankStatement({ url: settings.bankUrl }, { accountId, ...period }, { signal, clock });
    return readStatement(text, { fileName: 'statement.json' });
  } catch (error) {
    if (error instanceof StatementRefused) return { problems: [{ path: '', message: error.message }] };
    if (error instanceof OutsideError && error.permanent)
      return { problems: [{ path: '', message: bankRefusal(error) }] };
    throw error;
  }
}

/** The error itself says where the bank is, which is not for the client. */
function bankRefusal({ status }: OutsideError): string {
  if (status === undefined) return 'the statement of the bank is too large: ask for a shorter period';
  return `the bank gives no such statement (it answered ${status}): check account and period`;
}
