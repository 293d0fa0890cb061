import { dirname, join } from 'node:path';
import { DormouseError, deadLetter, on, service } from '@dormouse/core';
import { pushVerifier } from './identity.ts';
import { PushLine } from './push-wire.ts';
import { type InstanceSettings, instanceServer } from './serve.ts';

/** Well-formed, and signed by nobody: to refuse it takes the work that it takes to accept one. */
const token = [base64url({ alg: 'RS256' }), base64url({}), Buffer.alloc(256).toString('base64url')].join('.');

const body = Buffer.from(
  JSON.stringify({
    subscription: `rehearsal.${deadLetter.name}`,
    message: { data: '', messageId: '0', publishTime: '', attributes: { 'ce-subject': 'workflows/none' } },
  }),
);

/**
 * One push from end to end, so that what Node loads, compiles and connects at the first is there when it counts: of the 14 ms
 * from listening to the handler of a real push it leaves 5. This process sends it to itself, and the handler gives up as if
 * there were no store, so nothing is written. What fails here fails in a wake too, which tells.
 */
export async function rehearse(settings: Omit<InstanceSettings, 'socketPath' | 'audience'>): Promise<void> {
  const rehearsal = service('rehearsal', [
    on(deadLetter, async () => {
      throw new DormouseError('store.unavailable', 'a rehearsal has no effects');
    }),
  ]);
  const verify = pushVerifier(settings.pushes, 'rehearsal');
  const server = instanceServer(rehearsal, settings, {
    log: { info() {}, warn() {}, error() {} },
    authenticate: (token) => verify(token).catch(() => {}),
  });
  // No service has a dot in its name.
  const socketPath = join(dirname(settings.stateSocketPath), `rehearsal.${process.pid}`);
  const listening = await new Promise<boolean>((resolve) => {
    server.onError(() => resolve(false));
    server.listen(socketPath, () => resolve(true));
  });
  if (!listening) return;
  const line = new PushLine(socketPath);
  await line.send({ headers: { authorization: `Bearer ${token}` }, body }).catch(() => {});
  line.close();
  await server.close();
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
