import { readdirSync, readFileSync } from 'node:fs';

/** Source of the fields: proc(5). Linux only, as is this file. */
interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** CPU time of the process itself, all threads. */
  readonly ownMs: number;
  /** CPU time of its children that have ended and were waited for, with theirs. */
  readonly endedChildrenMs: number;
}

/** USER_HZ: 100 on every Linux that Node runs on. */
const msPerTick = 10;

function stat(pid: number | string): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    // It ended between the listing and now. ESRCH: while being read.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!)) return undefined;
    throw error;
  }
  // The second field, the command, may hold blanks and brackets.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [utime, stime, cutime, cstime] = fields.slice(11, 15) as [number, number, number, number];
  return {
    pid: Number(pid),
    parent: fields[1]!,
    ownMs: (utime + stime) * msPerTick,
    endedChildrenMs: (cutime + cstime) * msPerTick,
  };
}

/** A process and all its descendants that run now. */
function tree(root: number): Stat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => stat(pid) ?? []);
  const found = all.filter(({ pid }) => pid === root);
  for (const process of found) found.push(...all.filter(({ parent }) => parent === process.pid));
  return found;
}

export function onlyChild(pid: number): number {
  const [child, ...others] = tree(pid).filter(({ parent }) => parent === pid);
  if (!child || others.length > 0)
    throw new Error(`process ${pid} has not one child, but ${others.length + (child ? 1 : 0)}`);
  return child.pid;
}

export function processCount(root: number): number {
  return tree(root).length;
}

export interface CpuTime {
  readonly ownMs: number;
  /** Of all descendants, running and ended. */
  readonly descendantsMs: number;
}

/** CPU time since a process began. In steps of 10 ms. */
export function cpuTime(root: number): CpuTime {
  const [own, ...descendants] = tree(root);
  if (!own) throw new Error(`there is no process ${root}`);
  const descendantsMs = descendants.reduce(
    (sum, { ownMs, endedChildrenMs }) => sum + ownMs + endedChildrenMs,
    own.endedChildrenMs,
  );
  return { ownMs: own.ownMs, descendantsMs };
}

export function cpuTimeSince(root: number, before: CpuTime): CpuTime {
  const now = cpuTime(root);
  return { ownMs: now.ownMs - before.ownMs, descendantsMs: now.descendantsMs - before.descendantsMs };
}

/** Time on a CPU by the scheduler's own account, finer than `cpuTime`: all threads that live, in milliseconds. */
export function scheduledMs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce(
    (sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
    0,
  );
}

export interface Memory {
  readonly rssBytes: number;
  /** Heap, stacks, buffers: what only this process has. */
  readonly anonymousBytes: number;
  /** Mapped files that are in memory, most of all the program `node` itself, which all its processes share. */
  readonly fileBytes: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) * 1024;
  return { rssBytes: field('VmRSS'), anonymousBytes: field('RssAnon'), fileBytes: field('RssFile') };
}
