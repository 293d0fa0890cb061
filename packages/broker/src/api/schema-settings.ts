import { badRequest } from '../broker-error.ts';
import { deletedSchema, type SchemaSettings, type Schemas } from '../schema/schemas.ts';
import type { TopicConfig } from '../topic-config.ts';
import { checkEncoding } from './schemas.ts';

/**
 * A topic with the number of its schema, as it is kept.
 * @param before as it was kept: what it says of the schema already is not looked up again, it may be gone since
 * @throws BrokerError where the schema or a revision is not there
 */
export function keptSettings(schemas: Schemas, config: TopicConfig, before?: TopicConfig): TopicConfig {
  const { schemaSettings: given, ...rest } = config;
  if (!given || Object.keys(given).length === 0) return rest;
  if (given.schema === deletedSchema && before?.schemaSettings) return config;
  const { schema = '', encoding, firstRevisionId, lastRevisionId } = given;
  const topic = `topic "${config.name}"`;
  if (schema === '') throw badRequest('schema_settings.schema', `${topic}: schemaSettings need a schema`);
  checkEncoding(encoding, 'schema_settings.encoding');
  const [{ schemaNumber, place: first }, { place: last }] = [firstRevisionId, lastRevisionId].map((revision) =>
    schemas.place(schema, revision || undefined),
  ) as [ReturnType<Schemas['place']>, ReturnType<Schemas['place']>];
  if (first > last && last > 0) {
    throw badRequest(
      'schema_settings.first_revision_id',
      `${topic}: firstRevisionId ${firstRevisionId} is newer than lastRevisionId ${lastRevisionId}; exchange them`,
    );
  }
  return { ...rest, schemaSettings: { ...given, schemaNumber } };
}

/** A topic as it is told: of a schema that was deleted, it says so. */
export function shownSettings(schemas: Schemas, config: TopicConfig): TopicConfig {
  const settings: SchemaSettings | undefined = config.schemaSettings;
  return settings ? { ...config, schemaSettings: { ...settings, schema: schemas.nameOf(settings) } } : config;
}
