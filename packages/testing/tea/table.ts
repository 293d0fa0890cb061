import { on, service, workflow } from '@dormouse/core';
import { teaSteeped } from './system.ts';

export type Tea = { readonly guest: 'drinks' | 'hangs'; readonly sips: readonly number[] };
export const tea = workflow<Tea>({ idPrefix: 'TEA' });

export default service('table', [
  on(teaSteeped, async ({ data }, step) => {
    const poured = await step.workflow(tea);
    await step.run('offer', poured.data.guest, async (guest, { signal, clock }) => {
      const late = new AbortController();
      const cancel = clock.after(30_000, () => late.abort(new Error('the guest did not answer')));
      try {
        await fetch(`${process.env.TEA_GUEST_URL}/${guest}`, { signal: AbortSignal.any([signal, late.signal]) });
      } finally {
        cancel();
      }
      return 'drunk';
    });
    poured.update({ sips: [...poured.data.sips, step.now] });
    if (data.sip < 3) step.publish(teaSteeped, { sip: data.sip + 1 }, { after: '1d', timer: 'steeped' });
  }),
]);
