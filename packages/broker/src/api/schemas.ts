import { badRequest } from '../broker-error.ts';
import { type Encoding, SchemaError } from '../schema/definition.ts';
import { invalidMessage, type Schema, type Schemas } from '../schema/schemas.ts';
import type { Json } from '../wire/json.ts';
import { type PageRequest, pageOf } from './page.ts';

interface Viewed extends PageRequest {
  /** Where it says neither: FULL of one schema, BASIC of many. */
  readonly view?: 'BASIC' | 'FULL' | 'SCHEMA_VIEW_UNSPECIFIED';
}

/** What a request says of a schema; the rest of it is ours to say. */
type Given = Partial<Pick<Schema, 'type' | 'definition'>>;

/** google.pubsub.v1.SchemaService. */
export function schemas(kept: Schemas) {
  return {
    async createSchema({ parent = '', schemaId = '', schema = {} as Given }): Promise<Json> {
      checkProject('parent', parent);
      return { ...(await kept.create(`${parent}/schemas/${schemaId}`, schema.type, schema.definition ?? '')) };
    },

    async getSchema({ name = '', view }: Viewed & { name?: string }): Promise<Json> {
      return viewed(kept.get(name), view !== 'BASIC');
    },

    async listSchemas({ parent = '', view, ...request }: Viewed & { parent?: string }): Promise<Json> {
      checkProject('parent', parent);
      const { page, ...rest } = pageOf(kept.ofProject(parent), ({ name }) => name, request);
      return { schemas: page.map((schema) => viewed(schema, view === 'FULL')), ...rest };
    },

    /** Oldest first. */
    async listSchemaRevisions({ name = '', view, ...request }: Viewed & { name?: string }): Promise<Json> {
      const placeOf = ({ place }: { place: number }) => `${name}@${String(place).padStart(16, '0')}`;
      const { page, ...rest } = pageOf(kept.revisions(name), placeOf, request);
      return { schemas: page.map(({ schema }) => viewed(schema, view === 'FULL')), ...rest };
    },

    async commitSchema({ name = '', schema = {} as Given }): Promise<Json> {
      return { ...(await kept.commit(name, schema.type, schema.definition ?? '')) };
    },

    async rollbackSchema({ name = '', revisionId = '' }): Promise<Json> {
      return { ...(await kept.rollback(name, revisionId)) };
    },

    async deleteSchemaRevision({ name = '' }): Promise<Json> {
      return { ...(await kept.deleteRevision(name)) };
    },

    async deleteSchema({ name = '' }): Promise<Json> {
      await kept.delete(name);
      return {};
    },

    async validateSchema({ parent = '', schema = {} as Given & { name?: string } }): Promise<Json> {
      checkProject('parent', parent);
      await kept.validate(schema.name ?? '', schema.type, schema.definition ?? '');
      return {};
    },

    async validateMessage(request: {
      parent?: string;
      name?: string;
      schema?: Given & { name?: string };
      message?: string;
      encoding?: Encoding;
    }): Promise<Json> {
      const { parent = '', name, schema, message = '', encoding } = request;
      checkProject('parent', parent);
      checkEncoding(encoding, 'encoding');
      if (name === undefined && schema === undefined)
        throw badRequest('schema_spec', 'give a name or a schema to look by');
      const type = name === undefined ? schema!.type : kept.get(name).type;
      const by = name ?? schema!.name ?? '';
      const definition =
        name === undefined ? await kept.validate(by, type, schema!.definition ?? '') : await kept.understood(name);
      try {
        definition.check(Buffer.from(message, 'base64'), encoding);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        throw invalidMessage(type!, encoding, by, 'message', error.message);
      }
      return {};
    },
  };
}

export function checkEncoding(encoding: Encoding | undefined, field: string): asserts encoding is Encoding {
  if (encoding === 'JSON' || encoding === 'BINARY') return;
  throw badRequest(field, `encoding must be JSON or BINARY, got ${encoding ?? 'none'}`);
}

function checkProject(field: string, name: string): void {
  if (!/^projects\/[^/]+$/.test(name)) throw badRequest(field, `"${name}" names no project; use projects/PROJECT`);
}

function viewed({ definition, ...basic }: Schema, full: boolean): Json {
  return full ? { ...basic, definition } : basic;
}
