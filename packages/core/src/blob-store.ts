/** Files, written once. A key is a path of safe names; what is written under one key never changes. */
export interface BlobStore {
  /** Durable when it resolves. Writing the same key again changes nothing. */
  put(key: string, bytes: Uint8Array, contentType: string): Promise<void>;
  /** @throws DormouseError `blob.missing` */
  get(key: string): Promise<Uint8Array>;
}

/** How a document or event names a file. */
export interface FileRef {
  readonly key: string;
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly contentType: string;
  /** Its content is personal data: erased with the client's, never copied into a log or an event. */
  readonly personal?: true | undefined;
}
