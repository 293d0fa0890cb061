import { on, service } from '@dormouse/core';
import { wordingFor } from '../../agents/communication/wording.ts';
import { clientContact, contacts, disputeCase, grounds, isoTime } from '../../case.ts';
import { notifyAdmin } from '../../contracts/notify-admin.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { decided } from '../../outside/decided.ts';
import { settings } from '../../settings.ts';
import { sendMail } from './mail.ts';
import { sendSms } from './sms.ts';

/** A client reads what became of his case in the order in which it did, also after an outage. */
const inOrder = { order: 'workflow' } as const;

// Mails and text messages do not wait for each other: a subscription each.
export default service('communication', [
  on(
    notifyClient,
    async ({ data: { about } }, step) => {
      const found = await step.workflow(disputeCase);
      const { emailed = {} } = found.data.communication ?? {};
      if (emailed[about]) return;
      const contact = await step.document(contacts, clientContact);
      const why = about === 'rejected' ? (await step.document(grounds, 'rejected')).data.reasons : [];
      const { subject, text } = wordingFor(about, found.data, contact.data.name, why);
      await step.run('email', about, async (_about, context) => {
        const config = { url: settings.smtpUrl, from: settings.mailFrom };
        await decided(sendMail(config, { to: contact.data.email, subject, text }, context));
        return 'sent';
      });
      const communication = { ...found.data.communication, emailed: { ...emailed, [about]: isoTime(step.now) } };
      found.update({ communication });
    },
    inOrder,
  ),

  on(
    notifyClient,
    async ({ data: { about } }, step) => {
      const found = await step.workflow(disputeCase);
      const { texted = {} } = found.data.communication ?? {};
      if (texted[about]) return;
      const contact = await step.document(contacts, clientContact);
      const { sms } = wordingFor(about, found.data, contact.data.name);
      await step.run('sms', about, async (_about, context) => {
        await decided(sendSms({ url: settings.smsUrl }, { to: contact.data.phone, text: sms }, context));
        return 'sent';
      });
      const communication = { ...found.data.communication, texted: { ...texted, [about]: isoTime(step.now) } };
      found.update({ communication });
    },
    { name: 'notify.client.sms', ...inOrder },
  ),

  on(notifyAdmin, async ({ data }, step) => {
    await step.run('email', data.subject, async (_subject, context) => {
      const mail = { to: settings.adminEmail, subject: data.subject, text: data.text };
      await decided(sendMail({ url: settings.smtpUrl, from: settings.mailFrom }, mail, context));
      return 'sent';
    });
  }),
]);
