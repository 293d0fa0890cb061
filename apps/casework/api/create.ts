import { command, InvalidInput, refOf, workflowId, workflows } from '@dormouse/core';
import { clientContact, contacts, disputeCase, isoTime } from '../case.ts';
import { type CaseRequest, MAX_REQUEST_BYTES, parseCaseRequest } from '../case-request/case-request.ts';
import { caseRequestSchema } from '../case-request/case-request-schema.ts';
import { workflowInitiate } from '../contracts/workflow-initiate.ts';
import { aboutCase, readJson } from './body.ts';

/** A client asks for a case: all that is malformed is listed; what intake may yet reject is taken. */
export const create = command<CaseRequest, { workflowId: string }>({
  name: 'create',
  route: 'POST /api/workflows/create',
  summary: 'Opens a case.',
  body: caseRequestSchema,
  output: aboutCase,
  role: 'client',
  creates: true,
  maxBodyBytes: MAX_REQUEST_BYTES,
  parse({ body }) {
    const parsed = parseCaseRequest(readJson(body));
    if ('problems' in parsed) throw new InvalidInput(parsed.problems);
    return parsed.request;
  },
  subject: (_request, { now, random }) => ({ ref: refOf(workflows, workflowId(disputeCase.idPrefix, now, random)) }),
  async run(request, step) {
    const opened = await step.workflow(disputeCase);
    const contact = await step.document(contacts, clientContact);
    const file = await step.files.put('request.json', JSON.stringify(request), { personal: true });
    const now = isoTime(step.now);
    opened.create({
      id: opened.id,
      status: 'received',
      currentPhase: 1,
      clientId: request.clientId,
      createdAt: now,
      updatedAt: now,
      request: file,
    });
    contact.create(request.client);
    step.publish(workflowInitiate, { request: file });
    return { workflowId: opened.id };
  },
});
