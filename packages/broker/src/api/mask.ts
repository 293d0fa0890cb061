import { badRequest } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';
import type { MessageType } from '../wire/wire.ts';

/**
 * What is kept, with what is given in the places a mask names: `labels`, `push_config.push_endpoint`, in snake_case or
 * camelCase. A place the given message does not set is cleared.
 * @throws BrokerError INVALID_ARGUMENT for no mask, an unknown field, or one that may not change
 */
export function applyMask(
  type: MessageType,
  kept: Json,
  given: Json,
  mask: string,
  changeable: readonly string[],
): Json {
  const noun = type.name.slice(type.name.lastIndexOf('.') + 1);
  const paths = mask.split(',').map((path) => path.trim());
  if (mask.trim() === '' || paths.includes('')) {
    throw badRequest('update_mask', `updateMask must name the fields of the ${noun} to change`);
  }
  return paths.reduce((result, path) => {
    const names = namesOf(type, path, noun);
    if (!changeable.includes(names[0]!)) {
      throw badRequest(
        'update_mask',
        `updateMask: "${path}" of a ${noun} cannot be changed; ${changeable.join(', ')} can`,
      );
    }
    return withValueAt(result, names, given);
  }, kept);
}

function namesOf(type: MessageType, path: string, noun: string): string[] {
  let within: MessageType | undefined = type;
  return path.split('.').map((part) => {
    const field = within?.byName.get(part);
    if (!field) throw badRequest('update_mask', `updateMask: "${path}" is not a known field of a ${noun}`);
    within = typeof field.type === 'object' && field.type.kind === 'message' && !field.map ? field.type : undefined;
    return field.name;
  });
}

function withValueAt(kept: Json, [name, ...rest]: readonly string[], given: Json): Json {
  const { [name!]: before, ...others } = kept;
  const value = rest.length === 0 ? given[name!] : withValueAt(asJson(before), rest, asJson(given[name!]));
  return value === undefined ? others : { ...others, [name!]: value };
}

function asJson(value: unknown): Json {
  return (value ?? {}) as Json;
}
