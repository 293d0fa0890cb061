import type { SeenRequest } from './ordered-faults.ts';

/** Of a request to Firestore's API, what is looked at. */
interface Asked {
  readonly documents?: readonly string[];
  readonly structuredQuery?: { readonly from: readonly { readonly collectionId: string }[] };
  readonly writes?: readonly {
    readonly verify?: string;
    readonly delete?: string;
    readonly update?: { readonly name: string };
  }[];
}

/** Requests to Google's APIs, counted by what they were for: told from what they ask, so that it holds whoever asks. */
export class Trips {
  #counts: Record<string, number> = {};
  /** Of commits that were refused: the documents whose versions they asked for. */
  readonly #refused: ReadonlySet<string>[] = [];

  /** Since the start, or since they were taken before. */
  take(): Record<string, number> {
    const counts = this.#counts;
    this.#counts = {};
    return counts;
  }

  answered({ path, method, body }: SeenRequest, status: number): void {
    const verb = path.slice(path.lastIndexOf(':') + 1);
    if (verb === 'publish') this.#count('publish');
    else if (verb === 'batchGet') this.#read(JSON.parse(`${body}`));
    else if (verb === 'runQuery') this.#query(JSON.parse(`${body}`));
    else if (verb === 'commit') this.#commit(JSON.parse(`${body}`), status);
    else if (path.includes('/tasks')) this.#count(`task: ${method}`);
  }

  #read({ documents = [] }: Asked): void {
    this.#count(`read: ${this.#purposeOf(documents.map(pathOf))}`);
  }

  #purposeOf(paths: readonly string[]): string {
    const after = this.#refused.findIndex((refused) => paths.every((path) => refused.has(path)));
    if (after !== -1) {
      this.#refused.splice(after, 1);
      return 'what has moved';
    }
    const kinds = new Set(paths.map(kindOf));
    if (kinds.has('deferrals')) return kinds.has('inbox') ? 'a delivery begins' : 'a command begins';
    if (kinds.has('inbox')) return 'a delivery begins';
    const [kind] = kinds;
    if (kinds.size === 1) return kind!;
    return kinds.has('activities') ? 'activities' : 'documents';
  }

  #query({ structuredQuery }: Asked): void {
    this.#count(`query: ${structuredQuery!.from[0]!.collectionId}`);
  }

  #commit({ writes = [] }: Asked, status: number): void {
    const paths = writes.map((write) => pathOf((write.verify ?? write.delete ?? write.update?.name)!));
    const purpose = purposeOf(writes.map((write, index) => [paths[index]!, write]));
    if (status !== 200) this.#refused.push(new Set(paths));
    this.#count(`${status === 200 ? 'commit' : 'refused commit'}: ${purpose}`);
  }

  #count(kind: string): void {
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
  }
}

function purposeOf(writes: readonly (readonly [path: string, write: NonNullable<Asked['writes']>[number]])[]): string {
  const written = writes.filter(([, { verify }]) => verify === undefined);
  const kinds = new Set(written.map(([path]) => kindOf(path)));
  const isGone = (kind: string) => written.some(([path, write]) => kindOf(path) === kind && write.delete !== undefined);
  if (isGone('outbox')) return 'clears the outbox';
  if (kinds.has('inbox')) return 'a delivery';
  if (kinds.has('activities')) return 'an activity';
  if (kinds.has('timers')) return 'a timer fires';
  return 'a command';
}

function pathOf(name: string): string {
  return name.slice(name.indexOf('/documents/') + '/documents/'.length);
}

/** The collection it is in; of a document below a workflow, that. */
function kindOf(path: string): string {
  const parts = path.split('/');
  return parts[0] === 'workflows' && parts.length > 2 ? parts.at(-2)! : parts[0]!;
}
