import { DatabaseError } from './database-error.ts';

/** google.rpc.Code, and the HTTP status that goes with it. Source: google/rpc/code.proto. */
const codes = {
  CANCELLED: [1, 499],
  UNKNOWN: [2, 500],
  INVALID_ARGUMENT: [3, 400],
  DEADLINE_EXCEEDED: [4, 504],
  NOT_FOUND: [5, 404],
  ALREADY_EXISTS: [6, 409],
  PERMISSION_DENIED: [7, 403],
  RESOURCE_EXHAUSTED: [8, 429],
  FAILED_PRECONDITION: [9, 400],
  ABORTED: [10, 409],
  OUT_OF_RANGE: [11, 400],
  UNIMPLEMENTED: [12, 501],
  INTERNAL: [13, 500],
  UNAVAILABLE: [14, 503],
  UNAUTHENTICATED: [16, 401],
} as const;

/** One of google.rpc's error details, in JSON: `@type` says which. */
export interface ErrorDetail {
  readonly '@type': `type.googleapis.com/google.rpc.${'BadRequest' | 'ErrorInfo'}`;
  readonly [field: string]: unknown;
}

export interface BrokerErrorOptions extends ErrorOptions {
  readonly details?: readonly ErrorDetail[];
}

/** An error in Google's terms; `code` is the HTTP status that goes with it, `grpcCode` the number gRPC has for it. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';
  readonly status: keyof typeof codes;
  readonly details: readonly ErrorDetail[];

  constructor(status: keyof typeof codes, message: string, { details = [], ...options }: BrokerErrorOptions = {}) {
    super(message, options);
    this.status = status;
    this.details = details;
  }

  get code(): number {
    return codes[this.status][1];
  }

  get grpcCode(): number {
    return codes[this.status][0];
  }
}

/** A request that says something it must not, with the field at fault. */
export function badRequest(field: string, description: string): BrokerError {
  return new BrokerError('INVALID_ARGUMENT', description, {
    details: [{ '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [{ field, description }] }],
  });
}

type Kind = 'topic' | 'subscription' | 'schema' | 'snapshot';

/** Begins as Google's does: there are clients that look for its words. */
export function notFound(kind: Kind, name: string): BrokerError {
  const remedy = kind === 'topic' || kind === 'schema' ? '; create it first' : '';
  return new BrokerError(
    'NOT_FOUND',
    `Resource not found (resource=${shortOf(name)}): there is no ${kind} "${name}"${remedy}`,
  );
}

/** As Google's begins, too. */
export function alreadyExists(kind: Kind, name: string): BrokerError {
  return new BrokerError(
    'ALREADY_EXISTS',
    `Resource already exists in the project (resource=${shortOf(name)}): the ${kind} "${name}" is there`,
  );
}

function shortOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}

/** Whatever was thrown, in Google's terms. */
export function brokerErrorOf(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  const status = error instanceof DatabaseError ? 'UNAVAILABLE' : 'INTERNAL';
  return new BrokerError(status, (error as Error).message, { cause: error });
}
