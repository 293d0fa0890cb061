const httpStatus = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
} as const;

/** An error in Google's terms; `code` is the HTTP status that goes with it. Source: google.rpc.Code. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';
  readonly status: keyof typeof httpStatus;

  constructor(status: keyof typeof httpStatus, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }

  get code(): number {
    return httpStatus[this.status];
  }
}
