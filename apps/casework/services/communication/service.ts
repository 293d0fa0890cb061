import { on, service } from '@dormouse/core';
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
    const { name, email, phone } = contact.data;
    const { subject, text, sms } = wordingFor(data.about, found.data, name);
    await step.run('email', data.about, async (_about, context) => {
      await decided(
        sendMail({ url: settings.smtpUrl, from: settings.mailFrom }, { to: email, subject, text }, context),
      );
      return 'sent';
    });
    await step.run('sms', data.about, async (_about, context) => {
      await decided(sendSms({ url: settings.smsUrl }, { to: phone, text: sms }, context));
      return 'sent';
    });
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
