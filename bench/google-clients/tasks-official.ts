import { CloudTasksClient } from '@google-cloud/tasks';
import { OAuth2Client } from 'google-auth-library';
import type { Opened } from '../client-process.ts';

const queue = 'projects/bench/locations/here/queues/timers';

/** Over REST: the server of the tests has no gRPC. */
export async function open(address: string): Promise<Opened> {
  const [servicePath, port] = address.split(':');
  const authClient = new OAuth2Client();
  authClient.setCredentials({ access_token: 'owner', expiry_date: Date.now() + 3_600_000 });
  const options = { projectId: 'bench', fallback: true, protocol: 'http', servicePath, port: Number(port), authClient };
  const client = new CloudTasksClient(options as object);
  const from = Math.floor(Date.now() / 1000) + 3_600 + (process.pid % 1000) * 1000;
  return {
    read: async () => void (await client.getQueue({ name: queue })),
    write: async (n) =>
      void (await client.createTask({
        parent: queue,
        task: {
          name: `${queue}/tasks/official-${process.pid}-${n}`,
          scheduleTime: { seconds: from + n },
          httpRequest: {
            httpMethod: 'POST',
            url: 'http://127.0.0.1:1/tick',
            body: Buffer.from('{}').toString('base64'),
          },
        },
      })),
  };
}
