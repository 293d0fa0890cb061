import protobuf from 'protobufjs';
import { at } from './definition.ts';

/**
 * Fields may come and go where they are not required; one that stays keeps name, number and type.
 * Source: cloud.google.com/pubsub/docs/commit-schema-revision.
 * @throws SchemaError
 */
export function checkSame(newer: protobuf.Type, older: protobuf.Type, path = '', seen = new Set<string>()): void {
  const pair = `${newer.fullName} ${older.fullName}`;
  if (seen.has(pair)) return;
  seen.add(pair);
  for (const field of newer.fieldsArray) {
    const before = older.fieldsById[field.id];
    const inner = `${path}.${field.name}`;
    if (!before) {
      if (field.required) throw at(inner, 'a required field cannot be added');
      continue;
    }
    if (before.name !== field.name)
      throw at(inner, `number ${field.id} was ${before.name} before; take another number`);
    const [type, typeBefore] = [shapeOf(field), shapeOf(before)];
    if (type !== typeBefore) throw at(inner, `${type} is not compatible with ${typeBefore}`);
    if (field.resolvedType instanceof protobuf.Type && before.resolvedType instanceof protobuf.Type) {
      checkSame(field.resolvedType, before.resolvedType, inner, seen);
    }
  }
  const gone = older.fieldsArray.find(({ id, required }) => required && !newer.fieldsById[id]);
  if (gone) throw at(`${path}.${gone.name}`, 'a required field cannot be taken away');
  const moved = newer.fieldsArray.find(({ name, id }) => older.fields[name] && older.fields[name].id !== id);
  if (moved) throw at(`${path}.${moved.name}`, `its number was ${older.fields[moved.name]!.id} before, and must stay`);
}

function shapeOf(field: protobuf.Field): string {
  const { resolvedType } = field;
  const type = resolvedType instanceof protobuf.Type ? 'message' : resolvedType ? 'enum' : field.type;
  if (field instanceof protobuf.MapField) return `map<${field.keyType}, ${type}>`;
  const oneof = field.partOf && field.partOf.oneof.length > 1 ? ` of oneof ${field.partOf.name}` : '';
  return `${field.required ? 'required ' : field.repeated ? 'repeated ' : ''}${type}${oneof}`;
}
