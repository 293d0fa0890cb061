import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Measure } from './measurement.ts';
import { median, quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { ms, table } from './table.ts';

const root = join(import.meta.dirname, '..');

/** A service to change, and an event without effect that wakes it. */
const systems = {
  orders: { service: 'stock', source: 'services/stock.ts', topic: 'order.placed' },
  casework: { service: 'intake', source: 'services/intake/service.ts', topic: 'workflow.initiate' },
} as const;

const betweenSavesMs = 3_000;

/** One save. The wall clock is shared by all processes, in steps of a millisecond. */
interface Save {
  /** Until the new code is there to be woken. */
  readonly builtMs: number;
  /** Until it runs, in a process of its own. */
  readonly servingMs: number;
}

/** A source saved to its new code running. */
export const measureDev: Measure = async ({ quick, progress }) => {
  const rounds = quick ? 5 : 25;
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-bench-'));
  const figures: Record<string, { readonly upMs: number; readonly saves: Save[] }> = {};
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    for (const [name, { service, source, topic }] of Object.entries(systems)) {
      cpSync(join(root, 'apps', name), join(folder, name), {
        recursive: true,
        filter: (path) => !path.includes('node_modules'),
      });
      const file = join(folder, name, 'system.ts');
      const host = await RunningHost.launch(join(folder, `data-${name}`), 'dev', file, '--no-sample', '--no-types');
      const saves: Save[] = [];
      for (let round = 1; round <= rounds; round++) {
        const said = `serving ${round}`;
        const { end } = host.log(0);
        const savedAt = Date.now();
        appendFileSync(join(folder, name, source), `\nconsole.log('${said}');\n`);
        // Held: the change is seen, and what is published now can only meet the new code.
        const heldAt = await momentOf(host, end, 'service.held', service);
        await host.publish(topic, {}, { 'ce-id': `${name}-${round}`, 'dormouse-to': `${service}.${topic}` });
        const builtAt = await momentOf(host, end, 'service.renewed', service);
        const servingAt = await momentOf(host, end, 'service.said', service, said);
        if (heldAt > builtAt) throw new Error('renewed before it was held');
        saves.push({ builtMs: builtAt - savedAt, servingMs: servingAt - savedAt });
        // As a person does, who looks at what came of it: meanwhile the next build is prepared.
        await pause(betweenSavesMs);
      }
      progress(`${name}: ${rounds} saves`);
      figures[name] = { upMs: host.startMs, saves };
      await host.halt();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const rows = Object.entries(figures).map(([name, { upMs, saves }]) => {
    const of = (key: keyof Save) => saves.map((save) => save[key]);
    const [built, serving] = [of('builtMs'), of('servingMs')];
    return [
      name,
      ms(upMs),
      ms(median(built)),
      ms(quantile(built, 0.95)),
      ms(median(serving)),
      ms(quantile(serving, 0.95)),
    ];
  });
  return {
    report: table(
      `dev: a source saved to its new code, ${rounds} saves each, ${betweenSavesMs / 1000} s apart`,
      [['', 'up', 'built p50', 'p95', 'serving p50', 'p95'], ...rows],
      ['built: the next message would wake the new code. serving: a message that waited for it has woken it.'],
    ),
    figures,
  };
};

/** When the log first told it, epoch ms. */
async function momentOf(
  host: RunningHost,
  from: number,
  moment: string,
  service: string,
  line?: string,
): Promise<number> {
  for (;;) {
    const { lines } = host.log(from);
    const found = lines.find(
      (each) => each.moment === moment && each.service === service && (line === undefined || each.line === line),
    );
    if (found) return Date.parse(found.time);
    await pause(5);
  }
}
