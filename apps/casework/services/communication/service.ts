import { on, type Step, service } from '@dormouse/core';
import { type Matter, wordingFor } from '../../agents/communication/wording.ts';
import { type Case, type Contact, clientContact, contacts, disputeCase, grounds, isoTime } from '../../case.ts';
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
    ({ data: { about } }, step) =>
      tell(step, 'emailed', about, async (found, { name, email }) => {
        const why = about === 'rejected' ? (await step.document(grounds, 'rejected')).data.reasons : [];
        const { subject, text } = wordingFor(about, found, name, why);
        await step.run('email', about, async (_about, context) => {
          const config = { url: settings.smtpUrl, from: settings.mailFrom };
          await decided(sendMail(config, { to: email, subject, text }, context));
          return 'sent';
        });
      }),
    inOrder,
  ),

  on(
    notifyClient,
    ({ data: { about } }, step) =>
      tell(step, 'texted', about, async (found, { name, phone }) => {
        const { sms } = wordingFor(about, found, name);
        await step.run('sms', about, async (_about, context) => {
          await decided(sendSms({ url: settings.smsUrl }, { to: phone, text: sms }, context));
          return 'sent';
        });
      }),
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

/** Once for each turn of the case, whichever event says so; the case keeps when. */
async function tell(
  step: Step,
  how: keyof NonNullable<Case['communication']>,
  about: Matter,
  send: (found: Case, contact: Contact) => Promise<void>,
): Promise<void> {
  const found = await step.workflow(disputeCase);
  const { communication = {} } = found.data;
  if (communication[how]?.[about]) return;
  const contact = await step.document(contacts, clientContact);
  await send(found.data, contact.data);
  const told = { ...communication[how], [about]: isoTime(step.now) };
  found.update({ communication: { ...communication, [how]: told } });
}
