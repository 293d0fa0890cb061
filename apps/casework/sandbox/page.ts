import { createHash } from 'node:crypto';
import { formatMinor } from '../statement/money.ts';
import type { Answers } from './answers.ts';
import { type Faults, readFault } from './faults.ts';
import { type EffectEntry, kinds, type SandboxRecord, type Summary } from './record.ts';

export interface SandboxParts {
  readonly record: SandboxRecord;
  readonly faults: Faults;
  readonly answers: Answers;
}

/**
 * What people and tests see of the sandbox: `GET /sandbox` (a page), `GET /sandbox/api/records` (the same as JSON, both
 * with `?workflow=WF-…` of one workflow only), `PUT` and `DELETE /sandbox/faults`. Holds mails and numbers: whoever
 * mounts it decides who may look.
 */
export function sandboxPage(parts: SandboxParts): (request: Request) => Promise<Response> {
  return async (request) => {
    const url = new URL(request.url);
    switch (`${request.method} ${url.pathname.replace(/\/$/, '')}`) {
      case 'GET /sandbox':
        return page(parts, url.searchParams.get('workflow') ?? undefined);
      case 'GET /sandbox/api/records':
        return records(parts, url.searchParams.get('workflow') ?? undefined);
      case 'PUT /sandbox/faults':
        return setFault(parts, request);
      case 'DELETE /sandbox/faults':
        parts.faults.clear();
        return Response.json({ faults: [] });
      default:
        return problem(404, 'Not found', `${request.method} ${url.pathname} is not of this sandbox`);
    }
  };
}

async function records({ record, faults, answers }: SandboxParts, workflow: string | undefined): Promise<Response> {
  const { counts, items } = await record.summary(workflow);
  return Response.json({ counts, items, pendingAnswers: pendingOf(answers, workflow), faults: faults.list() });
}

async function setFault({ faults }: SandboxParts, request: Request): Promise<Response> {
  const read = readFault(await request.json().catch(() => undefined));
  if ('problems' in read) return problem(400, 'Bad fault', read.problems.join('; '));
  faults.set(read.fault);
  return Response.json({ faults: faults.list() });
}

function pendingOf(answers: Answers, workflow: string | undefined): ReturnType<Answers['pending']> {
  return answers.pending().filter(({ workflowId }) => workflow === undefined || workflowId === workflow);
}

/** Problem details, RFC 9457. */
function problem(status: number, title: string, detail: string): Response {
  const headers = { 'content-type': 'application/problem+json' };
  return new Response(JSON.stringify({ type: 'about:blank', title, status, detail }), { status, headers });
}

const style = `
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #3a424b); --muted: light-dark(#5c6873, #9aa6b2);
  --card: light-dark(#fff, #1b2026); --accent: light-dark(#1c4f5e, #7cc4d6) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#f5f7f9, #12161a); color: light-dark(#1f2933, #dfe5ea) }
h1 { font-size: 1.4rem; margin: 0; color: var(--accent) }
p, dt, time, .key { color: var(--muted) }
dl { display: grid; grid-template-columns: repeat(5, 1fr); gap: .75rem; margin: 1.5rem 0 }
dl > div, article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
dd small { font-size: .85rem; color: var(--muted) }
article { margin: .6rem 0; overflow-wrap: anywhere }
article header { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap }
article h2 { font-size: 1rem; margin: 0 }
time { margin-left: auto; font-size: .85rem }
pre { white-space: pre-wrap; font: inherit; margin: .4rem 0 0 }
.key { font: .8rem ui-monospace, monospace; margin: .4rem 0 0 }
.tag { font-size: .75rem; color: inherit; text-decoration: none; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem }
.fault { border-color: #b4451f }
@media (max-width: 40rem) { dl { grid-template-columns: repeat(2, 1fr) } }
`;

const headers = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; ` +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

async function page({ record, faults, answers }: SandboxParts, workflow: string | undefined): Promise<Response> {
  const summary = await record.summary(workflow);
  const pending = pendingOf(answers, workflow);
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>Sandbox · Casework</title>
<style>${style}</style>
</head>
<body>
<h1>Sandbox</h1>
<p>${workflow === undefined ? 'The outside world, played locally: what services sent, and what was answered.' : `Of ${escaped(workflow)}.`}
Refreshes every five seconds.</p>
${counts(summary)}
${faults
  .list()
  .map((fault) => `<article class="fault">Fault: ${escaped(JSON.stringify(fault))}</article>`)
  .join('\n')}
${pending.length > 0 ? `<p>${pending.length} ${pending.length === 1 ? 'answer' : 'answers'} to come. ${escaped(pending.find(({ lastError }) => lastError)?.lastError ?? '')}</p>` : ''}
${summary.items.map(article).join('\n') || '<p>Nothing yet.</p>'}
</body>
</html>
`;
  return new Response(html, { headers });
}

const titles = {
  mail: 'Mails',
  sms: 'Short messages',
  submission: 'Letters',
  withdrawal: 'Withdrawals',
  answer: 'Answers',
} as const;

function counts(summary: Summary): string {
  const boxes = kinds.map((kind) => {
    const { effects, repeats } = summary.counts[kind];
    const again = repeats > 0 ? ` <small>and ${repeats} repeated</small>` : '';
    return `<div><dt>${titles[kind]}</dt><dd>${effects}${again}</dd></div>`;
  });
  return `<dl>${boxes.join('')}</dl>`;
}

function article(entry: EffectEntry): string {
  const { tag, title, text } = shown(entry);
  const { workflowId } = entry;
  const link =
    workflowId && `<a class="tag" href="?workflow=${encodeURIComponent(workflowId)}">${escaped(workflowId)}</a>`;
  const key = entry.key === undefined ? '' : `<p class="key">${escaped(entry.key)}</p>`;
  return `<article>
<header><span class="tag">${tag}</span><h2>${escaped(title)}</h2>${link ?? ''}<time>${escaped(entry.at)}</time></header>
<pre>${escaped(text)}</pre>${key}
</article>`;
}

function shown(entry: EffectEntry): { tag: string; title: string; text: string } {
  switch (entry.kind) {
    case 'mail':
      return { tag: 'mail', title: entry.subject, text: `To ${entry.to.join(', ')}\n\n${entry.text}` };
    case 'sms':
      return { tag: 'SMS', title: `To ${entry.to}`, text: entry.text };
    case 'submission': {
      const about = `${entry.reference} · ${formatMinor(entry.amountMinor, entry.currency)} · PDF of ${entry.bytes} bytes`;
      return { tag: 'letter', title: `To ${entry.merchant}`, text: about };
    }
    case 'withdrawal':
      return { tag: 'withdrawal', title: `To ${entry.merchant}`, text: `${entry.workflowId}/${entry.letterId}` };
    case 'answer': {
      const about = `${entry.reference} · ${formatMinor(entry.amountMinor, entry.currency)}`;
      return { tag: 'answer', title: `${entry.merchant}: ${entry.decision}`, text: about };
    }
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
