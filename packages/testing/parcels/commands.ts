import { command, refOf, workflowId, workflows } from '@dormouse/core';
import { overdue, overdueTimer, parcel, posted, scanned } from './parcel.ts';

const post = command<object, { parcelId: string }>({
  name: 'post',
  route: 'POST /api/parcels',
  creates: true,
  parse: () => ({}),
  subject: (_input, { now, random }) => ({ ref: refOf(workflows, workflowId(parcel.idPrefix, now, random)) }),
  async run(_input, step) {
    const found = await step.workflow(parcel);
    found.create({ status: 'posted', scans: [], reminders: 0 });
    step.publish(posted, {});
    step.publish(overdue, { reminder: 1 }, { after: '3d', timer: overdueTimer });
    return { parcelId: found.id };
  },
});

const scan = command<{ readonly id: string; readonly station: string }, null>({
  name: 'scan',
  route: 'POST /api/parcels/:id/scan',
  parse: ({ body, params }) => ({ id: params.id!, station: JSON.parse(body).station }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  async run({ station }, step) {
    step.publish(scanned, { station });
    return null;
  },
});

const receive = command<{ readonly id: string }, null>({
  name: 'receive',
  route: 'POST /api/parcels/:id/receive',
  parse: ({ params }) => ({ id: params.id! }),
  subject: ({ id }) => ({ ref: refOf(workflows, id) }),
  async run(_input, step) {
    const found = await step.workflow(parcel);
    found.update({ status: 'received' });
    await step.cancelTimer(overdueTimer);
    return null;
  },
});

export default [post, scan, receive];
