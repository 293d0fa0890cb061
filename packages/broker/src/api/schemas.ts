import { BrokerError } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';
import { notYet } from './not-yet.ts';
import { type PageRequest, pageOf } from './page.ts';

/** google.pubsub.v1.SchemaService. None can be made yet, so none is there. */
export function schemas() {
  const absent = async ({ name = '' }): Promise<Json> => {
    throw new BrokerError('NOT_FOUND', `there is no schema "${name}"`);
  };
  return {
    async createSchema(): Promise<Json> {
      throw notYet('a schema (CreateSchema)');
    },

    async listSchemas(request: PageRequest): Promise<Json> {
      return { schemas: pageOf<string>([], (name) => name, request).page };
    },

    async validateSchema(): Promise<Json> {
      throw notYet('validating a schema (ValidateSchema)');
    },

    async validateMessage(): Promise<Json> {
      throw notYet('validating a message (ValidateMessage)');
    },

    getSchema: absent,
    listSchemaRevisions: absent,
    commitSchema: absent,
    rollbackSchema: absent,
    deleteSchemaRevision: absent,
    deleteSchema: absent,
  };
}
