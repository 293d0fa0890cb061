/** Steps of a journey: each receives a message, changes the journey's document, and publishes the next. */
export const stops = 10;

/** What each step leaves in the document, and tells the next. */
export const note = 'x'.repeat(40);

/** Where an engine runs, and what its client may use. */
export interface EngineAt {
  /** Where its server listens on this machine; 0 where it has none. */
  readonly port: number;
  /** Where it is told of services, if that is another port. */
  readonly adminPort?: number;
  /** A new one for each round, so that none has to do with what an earlier one left. */
  readonly name: string;
}

/** An engine that is ready for journeys, its workers in this process or in processes of its own. */
export interface Engine {
  /** Begins a journey, and resolves when its last step is done. */
  travel(id: string): Promise<void>;
  /** Steps that are done, of all journeys. Undefined: it does not tell. */
  readonly steps?: number;
  /** Ends what was opened. Rejects where the documents, if it has any, are not as ten steps leave them. @param ids of all journeys */
  close(ids: readonly string[]): Promise<void>;
}

/** How an engine is used. */
export interface JourneyClient {
  open(at: EngineAt): Promise<Engine>;
}
