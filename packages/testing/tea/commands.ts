import { command, type Duration, durationMs, InvalidInput, refOf, workflowId, workflows } from '@dormouse/core';
import { teaSteeped } from './system.ts';
import { type Tea, tea } from './table.ts';

const pour = command<{ steepFor: Duration; guest: Tea['guest'] }, { teaId: string }>({
  name: 'pour',
  route: 'POST /api/teas',
  creates: true,
  parse({ body }) {
    const { steepFor, guest = 'drinks' } = JSON.parse(body);
    try {
      durationMs(steepFor);
    } catch (error) {
      throw new InvalidInput([{ path: 'steepFor', message: (error as Error).message }]);
    }
    return { steepFor, guest };
  },
  subject: (_input, { now, random }) => ({ ref: refOf(workflows, workflowId(tea.idPrefix, now, random)) }),
  async run({ steepFor, guest }, step) {
    const poured = await step.workflow(tea);
    poured.create({ guest, sips: [] });
    step.publish(teaSteeped, { sip: 1 }, { after: steepFor, timer: 'steeped' });
    return { teaId: poured.id };
  },
});

export default [pour];
