import { on, service } from '@dormouse/core';
import { qualify } from '../../agents/intake/qualify.ts';
import { disputeCase, grounds, isOver, isoTime, onward } from '../../case.ts';
import type { CaseRequest } from '../../case-request/case-request.ts';
import { dataFetch } from '../../contracts/data-fetch.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { workflowInitiate } from '../../contracts/workflow-initiate.ts';

export default service('intake', [
  on(workflowInitiate, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const request: CaseRequest = JSON.parse(await step.files.text(data.request));
    const { approved, reasons } = qualify(request);
    const intake = { validated: true, documentsReceived: request.documents.length > 0, approved };
    const updatedAt = isoTime(step.now);
    if (!approved) {
      found.update({ status: 'rejected', currentPhase: 7, intake, updatedAt });
      (await step.document(grounds, 'rejected')).create({ outcome: 'rejected', reasons });
      step.publish(notifyClient, { about: 'rejected' });
      return;
    }
    found.update({ ...onward(found.data, 'fetching'), intake, updatedAt });
    step.publish(dataFetch, { request: data.request });
    step.publish(notifyClient, { about: 'opened' });
  }),
]);
