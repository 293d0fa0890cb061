import { on, PermanentError, service } from '@dormouse/core';
import { wordingFor } from '../../agents/communication/wording.ts';
import { clientContact, contacts, disputeCase, isoTime } from '../../case.ts';
import { notifyAdmin } from '../../contracts/notify-admin.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { decided } from '../../outside/decided.ts';
import { settings } from '../../settings.ts';
import { sendMail } from './mail.ts';
import { sendSms } from './sms.ts';

export default service('communication', [
  on(notifyClient, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    const told = found.data.communication?.told ?? {};
    if (told[data.about]) return;
    const contact = await step.document(contacts, clientContact);
    const { name, phone } = contact.data;
    const { subject, text, sms } = wordingFor(data.about, found.data, name);
    const email = () =>
      step.run('email', data.about, async (_about, context) => {
        const config = { url: settings.smtpUrl, from: settings.mailFrom };
        await decided(sendMail(config, { to: contact.data.email, subject, text }, context));
        return 'sent';
      });
    const shortMessage = () =>
      step.run('sms', data.about, async (_about, context) => {
        await decided(sendSms({ url: settings.smsUrl }, { to: phone, text: sms }, context));
        return 'sent';
      });
    await eachWay([email, shortMessage]);
    found.update({ communication: { told: { ...told, [data.about]: isoTime(step.now) } } });
  }),

  on(notifyAdmin, async ({ data }, step) => {
    await step.run('email', data.subject, async (_subject, context) => {
      const mail = { to: settings.adminEmail, subject: data.subject, text: data.text };
      await decided(sendMail({ url: settings.smtpUrl, from: settings.mailFrom }, mail, context));
      return 'sent';
    });
  }),
]);

/** Tries every way, whatever becomes of the others. What may pass is thrown before what will not: it is worth another try. */
async function eachWay(ways: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const way of ways) await way().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures.find((error) => !(error instanceof PermanentError)) ?? failures[0];
}
