import { notYet } from '../api/not-yet.ts';
import { badRequest } from '../broker-error.ts';

/** google.pubsub.v1 JavaScriptUDF. */
export interface Udf {
  readonly functionName: string;
  readonly code: string;
}

/** google.pubsub.v1 MessageTransform. `enabled` is deprecated there, and says nothing. */
export interface MessageTransform {
  readonly javascriptUdf?: Partial<Udf>;
  readonly aiInference?: unknown;
  readonly enabled?: boolean;
  readonly disabled?: boolean;
}

/** Source of the limits: cloud.google.com/pubsub/docs/smts, on resources. */
const maxTransforms = 5;
const maxCodeBytes = 20 * 1024;

/** Those that are applied, in their order. */
export function activeUdfs(transforms: readonly MessageTransform[] = []): Udf[] {
  return transforms.flatMap(({ javascriptUdf, disabled }) =>
    javascriptUdf && !disabled ? [javascriptUdf as Udf] : [],
  );
}

/**
 * What can be said of transforms without running them.
 * @param whose `topic "projects/p/topics/t"`
 * @throws BrokerError INVALID_ARGUMENT, or UNIMPLEMENTED for the kinds only Google has
 */
export function checkTransforms(whose: string, transforms: readonly MessageTransform[] = []): void {
  if (transforms.length > maxTransforms) {
    throw badRequest(
      'message_transforms',
      `${whose}: there are ${transforms.length} messageTransforms; at most ${maxTransforms} are allowed`,
    );
  }
  for (const [index, { javascriptUdf, aiInference }] of transforms.entries()) {
    const field = `message_transforms[${index}]`;
    const where = `${whose}: messageTransforms[${index}]`;
    if (aiInference !== undefined) throw notYet(`${where}: inference by a model (aiInference)`);
    if (!javascriptUdf) throw badRequest(field, `${where}: javascriptUdf is missing, or another kind of transform`);
    const { functionName = '', code = '' } = javascriptUdf;
    if (!/^[A-Za-z_$][\w$]*$/.test(functionName)) {
      throw badRequest(
        `${field}.javascript_udf.function_name`,
        `${where}: functionName must be the name of a function in the code, got "${functionName}"`,
      );
    }
    const bytes = Buffer.byteLength(code);
    if (bytes === 0 || bytes > maxCodeBytes) {
      throw badRequest(
        `${field}.javascript_udf.code`,
        `${where}: code must have 1 to ${maxCodeBytes} bytes, it has ${bytes}`,
      );
    }
  }
}
