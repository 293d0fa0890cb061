import { on, service, workflow } from '@dormouse/core';
import { stops } from '../journey-client.ts';
import { stopReached } from './system.ts';

export interface Journey {
  readonly stop: number;
  readonly notes: Readonly<Record<string, string>>;
}

export const journey = workflow<Journey>({ idPrefix: 'JN' });

export default service('guide', [
  on(stopReached, async ({ data: { stop, note } }, step) => {
    const traveller = await step.workflow(journey);
    if (stop === 1) traveller.create({ stop, notes: { 1: note } });
    else traveller.update({ stop, notes: { ...traveller.data.notes, [stop]: note } });
    if (stop < stops) step.publish(stopReached, { stop: stop + 1, note });
  }),
]);
