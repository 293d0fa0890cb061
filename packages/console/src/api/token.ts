import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type Actor,
  type Clock,
  ConflictError,
  DormouseError,
  everyTenant,
  type Page,
  type Random,
  type Role,
  randomId,
  refOf,
  type StateStore,
  sees,
  type Versioned,
} from '@dormouse/core';

/** A token on record: everything but the secret. */
export interface Token {
  readonly id: string;
  /** `*`: the house's, which sees every tenant. Of an admin only. */
  readonly tenant: string;
  readonly role: Role;
  readonly name?: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  readonly revokedBy?: string;
}

export interface NewToken extends Pick<Token, 'tenant' | 'role' | 'name' | 'expiresAt'> {
  /** The first of a data directory, kept in its file. */
  readonly first?: true;
}

/** SHA-256 of the secret, in hex. */
type Kept = Token & { readonly hash: string; readonly first?: true };

const collection = 'tokens';
const form = /^dm_([0-9A-Z]{16})_([\w-]{43})$/;

/**
 * Who may ask, by tokens `dm_<id>_<secret>`. The secret is 256 random bits, so one round of SHA-256 is enough: there is
 * nothing to guess that a slow hash would slow down, and a token is checked with every request.
 * Nothing is cached: a token that was revoked is refused from the next request on.
 */
export class Tokens {
  readonly #store: StateStore;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #random: Random;

  constructor({ store, clock, random }: { store: StateStore; clock: Pick<Clock, 'now'>; random: Random }) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  /** The token, and its text, which is told this once. */
  async create(wanted: NewToken, by: string): Promise<{ readonly token: Token; readonly text: string }> {
    const text = this.draw();
    return { token: (await this.adopt(text, wanted, by))!, text };
  }

  /** The text of a token that is on no record yet. */
  draw(): string {
    return `dm_${randomId(this.#random)}_${Buffer.from(this.#random.bytes(32)).toString('base64url')}`;
  }

  /** Puts a token on record whose text is known already. Undefined where the text is none. */
  async adopt(text: string, wanted: NewToken, by: string): Promise<Token | undefined> {
    const [, id, secret] = form.exec(text) ?? [];
    if (id === undefined || secret === undefined) return undefined;
    const [before] = await this.#store.get([refOf(collection, id)]);
    return before!.data === null ? this.#record(id, secret, wanted, by) : shown(before!);
  }

  /** Who the bearer of a token is, or why it is refused. */
  async authenticate(text: string | undefined): Promise<Actor | { readonly refused: string }> {
    const [, id, secret] = form.exec(text ?? '') ?? [];
    if (id === undefined || secret === undefined) {
      return { refused: 'this needs a token; send "Authorization: Bearer TOKEN"' };
    }
    const [found] = await this.#store.get([refOf(collection, id)]);
    const token = found!.data as Kept | null;
    if (token === null || !timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(token.hash))) {
      return { refused: 'the token is none of this system' };
    }
    if (token.revokedAt !== undefined) return { refused: 'the token was revoked' };
    if (token.expiresAt !== undefined && token.expiresAt <= this.#clock.now()) {
      return { refused: `the token expired at ${new Date(token.expiresAt).toISOString()}` };
    }
    return { name: `token ${id}`, role: token.role, tenant: token.tenant };
  }

  /** Newest first. */
  async list(
    actor: Actor,
    page: { limit: number; cursor?: string | undefined },
  ): Promise<{ tokens: Token[]; cursor?: string }> {
    const { documents, cursor } = await this.#find(actor, page);
    return { tokens: documents.map(shown), ...(cursor !== undefined && { cursor }) };
  }

  /** The token as it then is. Revoking again changes nothing. @throws DormouseError `document.missing` */
  async revoke(id: string, actor: Actor): Promise<Token> {
    const ref = refOf(collection, id);
    const [found] = await this.#store.get([ref]);
    if (found!.data === null || !sees(actor, found!.tenant)) {
      throw new DormouseError('document.missing', `there is no token "${id}"`);
    }
    const before = found!.data as unknown as Kept;
    if (before.revokedAt !== undefined) return shown(found!);
    const data = { ...before, revokedAt: this.#clock.now(), revokedBy: actor.name };
    try {
      await this.#store.commit(unit(found!.tenant!, [found!], { ref, data }));
    } catch (error) {
      // Nothing else moves a token: somebody revoked it at the same time.
      if (error instanceof ConflictError) return this.revoke(id, actor);
      throw error;
    }
    return shown({ ...found!, data });
  }

  /** Whether the first token of this data directory was revoked: then no start makes another. */
  async firstWasRevoked(): Promise<boolean> {
    for (let cursor: string | undefined; ; ) {
      const page = await this.#find({ tenant: everyTenant }, { limit: 500, cursor });
      const tokens = page.documents.map(({ data }) => data as unknown as Kept);
      if (tokens.some(({ first, revokedAt }) => first && revokedAt !== undefined)) return true;
      if (page.cursor === undefined) return false;
      cursor = page.cursor;
    }
  }

  async #record(id: string, secret: string, wanted: NewToken, createdBy: string): Promise<Token> {
    const ref = refOf(collection, id);
    const data = { id, ...wanted, hash: hashOf(secret), createdAt: this.#clock.now(), createdBy };
    const read = { ref, version: null };
    await this.#store.commit(unit(wanted.tenant, [read], { ref, data: JSON.parse(JSON.stringify(data)) }));
    return shown({ ref, version: null, tenant: wanted.tenant, data });
  }

  #find(
    { tenant }: Pick<Actor, 'tenant'>,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page> {
    return this.#store.find({
      collection,
      limit,
      ...(tenant !== everyTenant && { tenant }),
      ...(cursor !== undefined && { cursor }),
    });
  }
}

function unit(tenant: string, reads: Pick<Versioned, 'ref' | 'version'>[], write: { ref: string; data: object }) {
  const data = write.data as Record<string, unknown>;
  return { tenant, reads, writes: [{ ref: write.ref, data }], entries: [], journal: [], publish: [] };
}

function shown({ data }: Versioned): Token {
  const { hash: _hash, first: _first, ...token } = data as unknown as Kept;
  return token;
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
