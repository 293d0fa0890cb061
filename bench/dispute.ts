import { pause, type RunningHost } from './running-host.ts';

/** A system whose console is asked, wherever it runs. */
export type Asked = Pick<RunningHost, 'get' | 'post'>;

/** The case as its sections tell it. */
export interface Dispute {
  readonly id: string;
  readonly status: string;
  readonly createdAt: string;
  readonly request: object;
  readonly data?: { readonly statement: object };
  readonly processing?: { readonly letters: readonly string[] };
  readonly admin?: { readonly closedAt?: string };
}

/** A small case that closes: two wrong charges by two merchants, so two letters; both accept after about a second. */
const request = {
  clientId: 'bench',
  client: { name: 'Bea Marks', email: 'bea@client.example', phone: '+12025550100' },
  consent: { signedAt: '2025-01-01T00:00:00Z', scopes: ['fetch_statement', 'dispute_on_behalf'] },
  payment: { reference: 'PAY-BENCH', status: 'paid' },
  documents: [{ kind: 'identity', name: 'passport.pdf' }],
  statement: {
    inline: {
      accountId: 'bench-1',
      holder: 'Bea Marks',
      currency: 'EUR',
      period: { from: '2025-01-01', to: '2025-01-31' },
      lines: [
        {
          id: '1',
          date: '2025-01-03',
          merchant: 'Corner Market',
          description: 'Groceries',
          amountMinor: 3150,
          kind: 'charge',
        },
        {
          id: '2',
          date: '2025-01-04',
          merchant: 'Corner Market',
          description: 'Groceries',
          amountMinor: 3150,
          kind: 'charge',
        },
        {
          id: '3',
          date: '2025-01-09',
          merchant: 'City Gym',
          description: 'Day pass',
          amountMinor: 1200,
          kind: 'charge',
        },
        {
          id: '4',
          date: '2025-01-10',
          merchant: 'City Gym',
          description: 'Day pass',
          amountMinor: 1200,
          kind: 'charge',
        },
        {
          id: '5',
          date: '2025-01-20',
          merchant: 'Bookshop',
          description: 'A novel',
          amountMinor: 1899,
          kind: 'charge',
        },
      ],
    },
  },
};

const finalStatuses = ['closed', 'rejected', 'escalated', 'cancelled'];

/** The same without a wrong charge: it closes without a letter, and waits for nobody outside. */
const clean = {
  ...request,
  statement: {
    inline: { ...request.statement.inline, lines: request.statement.inline.lines.filter(({ id }) => Number(id) % 2) },
  },
};

/** @param tenant default: the host's own choice */
export async function openDispute(host: Asked, tenant?: string, options = { clean: false }): Promise<string> {
  const body = options.clean ? clean : request;
  const headers: Record<string, string> = tenant === undefined ? {} : { 'dormouse-tenant': tenant };
  return (await host.post<{ workflowId: string }>('/api/workflows/create', body, headers)).workflowId;
}

/** The disputes of this set that are over. Reads no further than it must: new ones come first. */
export async function overAmong(host: Asked, ids: ReadonlySet<string>): Promise<Dispute[]> {
  const over: Dispute[] = [];
  let missing = ids.size;
  for (let cursor = ''; missing > 0; ) {
    const page = await host.get<{ workflows: Dispute[]; cursor?: string }>(`/api/workflows?limit=40${cursor}`);
    for (const dispute of page.workflows.filter(({ id }) => ids.has(id))) {
      missing--;
      if (finalStatuses.includes(dispute.status)) over.push(dispute);
    }
    if (!page.cursor) break;
    cursor = `&cursor=${page.cursor}`;
  }
  return over;
}

/** @throws where it ends in another way than `closed` */
export async function untilClosed(host: Asked, id: string): Promise<Dispute> {
  for (;;) {
    const [dispute] = await overAmong(host, new Set([id]));
    if (dispute) return closed(dispute);
    await pause(50);
  }
}

export function closed(dispute: Dispute): Dispute {
  if (dispute.status !== 'closed') throw new Error(`${dispute.id} ended as ${dispute.status}, not closed`);
  return dispute;
}
