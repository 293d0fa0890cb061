import { randomBytes } from 'node:crypto';
import { alreadyExists, BrokerError, badRequest, notFound } from '../broker-error.ts';
import type { Database } from '../database.ts';
import type { PubsubMessage } from '../log.ts';
import { checkResourceName } from '../names.ts';
import type { Policies } from '../policies.ts';
import { type Definition, type Encoding, readDefinition, SchemaError, type SchemaType } from './definition.ts';

/** google.pubsub.v1 Schema: one revision of it. */
export interface Schema {
  readonly name: string;
  readonly type: SchemaType;
  readonly definition: string;
  readonly revisionId: string;
  readonly revisionCreateTime: string;
}

/** google.pubsub.v1 SchemaSettings as a topic keeps them: by the schema's number too, since a name may come again. */
export interface SchemaSettings {
  readonly schema: string;
  readonly encoding: Encoding;
  readonly firstRevisionId?: string;
  readonly lastRevisionId?: string;
  readonly schemaNumber: number;
}

/** What a topic has for a schema that was deleted. Source: google.pubsub.v1 SchemaSettings.schema. */
export const deletedSchema = '_deleted-schema_';

/** Source: cloud.google.com/pubsub/docs/schemas, its limits. */
const maxDefinitionBytes = 300 * 1024;
const maxRevisions = 20;
/** Understood definitions that are kept in memory. */
const maxUnderstood = 200;

interface Row {
  readonly number: number;
  readonly id: number;
  readonly name: string;
  readonly type: SchemaType;
  readonly definition: string;
  readonly revision: string;
  readonly created_at: number;
}

const select = `SELECT schema.id AS number, schema.name, schema.type, schema_revision.id, revision, created_at, definition
  FROM schema JOIN schema_revision ON schema_revision.schema = schema.id WHERE definition IS NOT NULL`;

/**
 * Schemas and their revisions, in tables of their own. A revision never changes, so what was understood of it holds.
 * Of one that is deleted its place stays: a topic that begins or ends with it goes on with the next that is there.
 */
export class Schemas {
  readonly #database: Database;
  readonly #policies: Policies;
  readonly #now: () => number;
  /** By the revision's number. */
  readonly #understood = new Map<number, Definition>();

  static readonly schema = [
    `CREATE TABLE schema (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL) STRICT;
     CREATE TABLE schema_revision (
       id INTEGER PRIMARY KEY AUTOINCREMENT, schema INTEGER NOT NULL, revision TEXT NOT NULL, created_at INTEGER NOT NULL, definition TEXT
     ) STRICT;
     CREATE INDEX schema_revision_by_schema ON schema_revision (schema, id);`,
  ];

  constructor(database: Database, policies: Policies, now: () => number) {
    database.migrate('schema', Schemas.schema);
    this.#database = database;
    this.#policies = policies;
    this.#now = now;
  }

  /** The newest revision of each. */
  ofProject(project: string): Schema[] {
    const rows = this.#database.prepare(
      `${select} AND schema.name >= ? AND schema.name < ?
       AND schema_revision.id = (SELECT max(id) FROM schema_revision WHERE schema = schema.id AND definition IS NOT NULL)`,
    );
    return (rows.all(`${project}/schemas/`, `${project}/schemas0`) as unknown as Row[]).map(shown);
  }

  /** @param name may say a revision: `projects/p/schemas/s@1a2b3c4d`; the newest otherwise. @throws BrokerError NOT_FOUND */
  get(name: string): Schema {
    return shown(this.#row(name));
  }

  /** Oldest first, each with a number that grows. */
  revisions(name: string): { readonly place: number; readonly schema: Schema }[] {
    return this.#rows(this.#numberOf(name)).map((row) => ({ place: row.id, schema: shown(row) }));
  }

  async create(name: string, type: unknown, text: string): Promise<Schema> {
    checkResourceName('schemas', name);
    await this.validate(name, type, text);
    return this.#database.write(() => {
      if (this.#find(name)) throw alreadyExists('schema', name);
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO schema (name, type) VALUES (?, ?)')
        .run(name, type as SchemaType);
      return this.#add(Number(lastInsertRowid), name, text);
    });
  }

  /** Adds a revision. Messages of it and of each older one must be readable by the other. */
  async commit(name: string, type: unknown, text: string): Promise<Schema> {
    const number = this.#numberOf(name);
    const rows = this.#rows(number);
    if (type !== rows[0]!.type) {
      throw badRequest('schema.type', `schema "${name}" is of type ${rows[0]!.type} and stays so, got ${type}`);
    }
    const definition = await this.validate(name, type, text);
    for (const row of rows.toReversed()) {
      const older = await this.#understand(row);
      try {
        definition.checkRevises(older);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        throw badRequest(
          'schema.definition',
          `Compatibility checking failed to commit a schema revision of "${name}". Revision is incompatible with previous revision: ${row.revision}. ${error.message}`,
        );
      }
    }
    return this.#database.write(() => {
      const known = new Set(rows.map(({ id }) => id));
      if (this.#rows(this.#numberOf(name)).some(({ id }) => !known.has(id))) {
        throw new BrokerError('ABORTED', `schema "${name}" got another revision at the same time; commit again`);
      }
      return this.#add(number, name, text);
    });
  }

  /** Adds a revision with the definition of an older one. */
  async rollback(name: string, revisionId: string): Promise<Schema> {
    return this.#database.write(() => {
      const { number, definition } = this.#row(`${name}@${revisionId}`);
      return this.#add(number, name, definition);
    });
  }

  async deleteRevision(name: string): Promise<Schema> {
    if (!name.includes('@')) {
      throw badRequest('name', `"${name}" names no revision; use projects/PROJECT/schemas/ID@REVISION`);
    }
    return this.#database.write(() => {
      const row = this.#row(name);
      if (this.#rows(row.number).length === 1) {
        throw new BrokerError('INVALID_ARGUMENT', `"${name}" is the last revision; delete the schema instead`);
      }
      this.#database.prepare('UPDATE schema_revision SET definition = NULL WHERE id = ?').run(row.id);
      return shown(row);
    });
  }

  /** Its topics take no messages any more, also where one of its name comes again. */
  async delete(name: string): Promise<void> {
    await this.#database.write(() => {
      const number = this.#numberOf(name);
      this.#database.prepare('DELETE FROM schema WHERE id = ?').run(number);
      this.#database.prepare('DELETE FROM schema_revision WHERE schema = ?').run(number);
      this.#policies.forget(name);
    });
  }

  /** @param name for what is said where it is none. @throws BrokerError INVALID_ARGUMENT */
  async validate(name: string, type: unknown, text: string): Promise<Definition> {
    if (type !== 'AVRO' && type !== 'PROTOCOL_BUFFER') {
      throw badRequest('schema.type', `schema "${name}": type must be AVRO or PROTOCOL_BUFFER, got ${type ?? 'none'}`);
    }
    const bytes = Buffer.byteLength(text);
    if (bytes > maxDefinitionBytes) {
      throw badRequest(
        'schema.definition',
        `schema "${name}": its definition has ${bytes} bytes; at most ${maxDefinitionBytes} are allowed`,
      );
    }
    try {
      return await readDefinition(type, text);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      throw badRequest('schema.definition', `schema "${name}": the ${type} definition is not valid: ${error.message}`);
    }
  }

  /** The newest revision, understood. @param name may say a revision */
  understood(name: string): Promise<Definition> {
    return this.#understand(this.#row(name));
  }

  /** The name its topics show. */
  nameOf(settings: SchemaSettings): string {
    return this.#typeOf(settings) === undefined ? deletedSchema : settings.schema;
  }

  /** @throws BrokerError NOT_FOUND. @returns its number and the place of a revision among the others, which may be deleted */
  place(name: string, revisionId?: string): { readonly schemaNumber: number; readonly place: number } {
    const schemaNumber = this.#numberOf(name);
    if (revisionId === undefined) return { schemaNumber, place: 0 };
    const row = this.#database
      .prepare('SELECT id FROM schema_revision WHERE schema = ? AND revision = ?')
      .get(schemaNumber, revisionId);
    if (!row) throw new BrokerError('NOT_FOUND', `schema "${name}" has no revision "${revisionId}"`);
    return { schemaNumber, place: row.id as number };
  }

  /**
   * What is published to a topic with a schema, with the attributes that say by which revision it was found good: the newest
   * it fits of those the topic allows.
   * @throws BrokerError for all, where one fits none
   */
  async admit(settings: SchemaSettings, messages: readonly PubsubMessage[]): Promise<PubsubMessage[]> {
    const { schema, encoding } = settings;
    const type = this.#typeOf(settings);
    if (type === undefined) {
      throw new BrokerError('NOT_FOUND', 'Schema associated with topic deleted. Give the topic another, or none');
    }
    const rows = this.#allowed(settings);
    const definitions = new Map<Row, Definition>();
    const admitted: PubsubMessage[] = [];
    for (const [index, message] of messages.entries()) {
      const data = Buffer.from(message.data, 'base64');
      let why = 'the topic allows no revision that is there';
      let fitting: Row | undefined;
      for (const row of rows) {
        const definition = definitions.get(row) ?? (await this.#understand(row));
        definitions.set(row, definition);
        try {
          definition.check(data, encoding);
          fitting = row;
          break;
        } catch (error) {
          if (!(error instanceof SchemaError)) throw error;
          why = `revision_id=${row.revision} failed with status: ${error.message}`;
        }
      }
      if (!fitting) throw invalidMessage(type, encoding, schema, `messages[${index}]`, why);
      const attributes = {
        ...message.attributes,
        googclient_schemaencoding: encoding,
        googclient_schemaname: schema,
        googclient_schemarevisionid: fitting.revision,
      };
      admitted.push({ ...message, attributes });
    }
    return admitted;
  }

  /** Newest first. */
  #allowed({ schemaNumber, firstRevisionId, lastRevisionId }: SchemaSettings): Row[] {
    const place = '(SELECT id FROM schema_revision WHERE schema = ?1 AND revision =';
    return this.#database
      .prepare(
        `${select} AND schema.id = ?1 AND schema_revision.id >= coalesce(${place} ?2), 0)
         AND schema_revision.id <= coalesce(${place} ?3), schema_revision.id) ORDER BY schema_revision.id DESC`,
      )
      .all(schemaNumber, firstRevisionId ?? null, lastRevisionId ?? null) as unknown as Row[];
  }

  async #understand({ id, type, definition }: Row): Promise<Definition> {
    const known = this.#understood.get(id);
    if (known) return known;
    const understood = await readDefinition(type, definition);
    if (this.#understood.size >= maxUnderstood) this.#understood.delete(this.#understood.keys().next().value!);
    this.#understood.set(id, understood);
    return understood;
  }

  #add(number: number, name: string, definition: string): Schema {
    if (this.#rows(number).length >= maxRevisions) {
      throw new BrokerError(
        'FAILED_PRECONDITION',
        `schema "${name}" has ${maxRevisions} revisions, which is the most; delete one first (DeleteSchemaRevision)`,
      );
    }
    const revision = randomBytes(4).toString('hex');
    this.#database
      .prepare('INSERT INTO schema_revision (schema, revision, created_at, definition) VALUES (?, ?, ?, ?)')
      .run(number, revision, this.#now(), definition);
    return this.get(`${name}@${revision}`);
  }

  #row(name: string): Row {
    const [schema = '', revision] = name.split('@');
    const rows = this.#rows(this.#numberOf(schema));
    const row = revision === undefined ? rows.at(-1) : rows.find((each) => each.revision === revision);
    if (!row) throw new BrokerError('NOT_FOUND', `schema "${schema}" has no revision "${revision}"`);
    return row;
  }

  #rows(number: number): Row[] {
    return this.#database
      .prepare(`${select} AND schema.id = ? ORDER BY schema_revision.id`)
      .all(number) as unknown as Row[];
  }

  #typeOf({ schemaNumber }: SchemaSettings): SchemaType | undefined {
    return this.#database.prepare('SELECT type FROM schema WHERE id = ?').get(schemaNumber)?.type as
      | SchemaType
      | undefined;
  }

  #numberOf(name: string): number {
    const number = this.#find(name);
    if (number === undefined) throw notFound('schema', name);
    return number;
  }

  #find(name: string): number | undefined {
    return this.#database.prepare('SELECT id FROM schema WHERE name = ?').get(name)?.id as number | undefined;
  }
}

/** In Google's words and details, so that clients that look into them find what they look for. */
export function invalidMessage(
  type: SchemaType,
  encoding: Encoding,
  schema: string,
  what: string,
  why: string,
): BrokerError {
  const kind = type === 'AVRO' ? 'AVRO' : 'PROTO';
  return new BrokerError(
    'INVALID_ARGUMENT',
    `Invalid data in message: Message failed schema validation. ${what}: ${why}`,
    {
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: `INVALID_${encoding}_${kind}_MESSAGE`,
          domain: 'pubsub.googleapis.com',
          metadata: {
            message: 'Message failed schema validation',
            revisionInfo: `Could not validate message with any schema revision for schema: ${schema}, last checked revision: ${why}`,
          },
        },
      ],
    },
  );
}

function shown({ name, type, definition, revision, created_at }: Row): Schema {
  return {
    name,
    type,
    definition,
    revisionId: revision,
    revisionCreateTime: new Date(created_at).toISOString(),
  };
}
