import { system } from '@dormouse/core';
import { auditLog } from './contracts/audit-log.ts';
import { complianceReview } from './contracts/compliance-review.ts';
import { dataAnalyze } from './contracts/data-analyze.ts';
import { dataFetch } from './contracts/data-fetch.ts';
import { deadLetter } from './contracts/dead-letter.ts';
import { documentGenerate } from './contracts/document-generate.ts';
import { documentSubmit } from './contracts/document-submit.ts';
import { notifyAdmin } from './contracts/notify-admin.ts';
import { notifyClient } from './contracts/notify-client.ts';
import { responseReceived } from './contracts/response-received.ts';
import { retryFailed } from './contracts/retry-failed.ts';
import { workflowCancel } from './contracts/workflow-cancel.ts';
import { workflowComplete } from './contracts/workflow-complete.ts';
import { workflowEscalate } from './contracts/workflow-escalate.ts';
import { workflowFollowup } from './contracts/workflow-followup.ts';
import { workflowInitiate } from './contracts/workflow-initiate.ts';
import { workflowTrack } from './contracts/workflow-track.ts';

export default system('casework', {
  topics: [
    // Onboarding
    workflowInitiate,
    dataFetch,
    // Processing
    dataAnalyze,
    documentGenerate,
    documentSubmit,
    // Monitoring
    workflowTrack,
    responseReceived,
    workflowFollowup,
    // Admin
    workflowComplete,
    workflowEscalate,
    workflowCancel,
    complianceReview,
    // Communication
    notifyClient,
    notifyAdmin,
    // Infrastructure
    deadLetter,
    auditLog,
    retryFailed,
  ],
  services: {
    intake: './services/intake/service.ts',
    data: './services/data/service.ts',
    processing: './services/processing/service.ts',
    tracking: './services/tracking/service.ts',
    admin: './services/admin/service.ts',
    communication: './services/communication/service.ts',
  },
  commands: './api/commands.ts',
  sandbox: './sandbox/sandbox.ts',
  simulation: './scenarios/simulation.ts',
  // An escalated case waits for a person.
  closedStatuses: ['closed', 'rejected', 'cancelled'],
  sample: { route: 'POST /api/workflows/create', file: './samples/sample-case.json' },
});
