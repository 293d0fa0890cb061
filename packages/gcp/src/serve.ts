import { createEndpoint, maxPushBytes, type Service } from '@dormouse/core';
import { HttpServer, healthRoute } from './http-server.ts';
import { GcpPlatform } from './platform.ts';
import { starting } from './starting.ts';

/** Runs a service in this process, as a container of Cloud Run: takes pushes and ticks on `PORT`, until SIGTERM. */
export function serve(service: Service): Promise<void> {
  return starting(() => run(service));
}

async function run(service: Service): Promise<void> {
  const platform = GcpPlatform.open(process.env);
  const { ports, log, declared, authenticate } = platform;
  const endpoint = createEndpoint(service, { ...ports, system: declared.system, log, authenticate });
  const pushes = { maxBodyBytes: maxPushBytes, admit: endpoint.admit, answer: endpoint.take };
  const server = new HttpServer({ '/pubsub-push': pushes, '/tick': platform.tick, '/healthz': healthRoute }, log);
  server.stopOnSignal();
  await server.listen(platform.port);
}
