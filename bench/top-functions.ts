// Where a thread's time goes: node bench/top-functions.ts FILE.cpuprofile [COUNT]
// Two tables of a profile that `node --cpu-prof` wrote: by the time in a function itself, and with all that it called.
import { readFileSync } from 'node:fs';
import { table } from './table.ts';

interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

const [file, count = '40'] = process.argv.slice(2);
const profile: { nodes: Node[]; samples: number[]; timeDeltas: number[] } = JSON.parse(readFileSync(file!, 'utf8'));
const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
const ownTime = new Map<number, number>();
for (const [index, id] of profile.samples.entries()) {
  ownTime.set(id, (ownTime.get(id) ?? 0) + profile.timeDeltas[index]!);
}
const all = profile.timeDeltas.reduce((sum, each) => sum + each, 0);

const own = new Map<string, number>();
const withCalled = new Map<string, number>();
sum(nodes.get(profile.nodes[0]!.id)!, new Set());
process.stdout.write(`${top('in the function itself', own)}\n\n${top('with all that it called', withCalled)}\n`);

/** Answers the time of a node with all below it. A function that is on the stack already is not counted again. */
function sum(node: Node, above: ReadonlySet<string>): number {
  const name = nameOf(node);
  const self = ownTime.get(node.id) ?? 0;
  const within = new Set(above).add(name);
  const total = (node.children ?? []).reduce((time, id) => time + sum(nodes.get(id)!, within), self);
  own.set(name, (own.get(name) ?? 0) + self);
  if (!above.has(name)) withCalled.set(name, (withCalled.get(name) ?? 0) + total);
  return total;
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: Node): string {
  const place = url === '' ? '' : ` ${url.split('/').slice(-3).join('/')}:${lineNumber + 1}`;
  return `${functionName || '(anonymous)'}${place}`;
}

function top(title: string, times: ReadonlyMap<string, number>): string {
  const rows = [...times].sort(([, a], [, b]) => b - a).slice(0, Number(count));
  return table(title, [
    ['', 'ms', 'of all'],
    ...rows.map(([name, time]) => [name, (time / 1000).toFixed(0), `${((time / all) * 100).toFixed(1)} %`]),
  ]);
}
