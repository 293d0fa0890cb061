import { DormouseError, PubsubClient, PubsubError, systemClock, systemRandom } from '@dormouse/core';
import { AccessTokens, GoogleError, GoogleRest, metadataUrl, pubsubOver, type TokenSource } from '@dormouse/gcp';
import { UsageError } from './usage-error.ts';

const googlesUrl = 'https://pubsub.googleapis.com';
const by = { clock: systemClock, random: systemRandom };

/** Google's Pub/Sub, by an access token; or what PUBSUB_EMULATOR_HOST names, without one. */
export class GooglePubsub implements Disposable {
  readonly #rest: GoogleRest;
  readonly #project: string;

  private constructor(rest: GoogleRest, project: string) {
    this.#rest = rest;
    this.#project = project;
  }

  static of(project: string): GooglePubsub {
    const emulator = process.env.PUBSUB_EMULATOR_HOST;
    const url = emulator ? `http://${emulator.replace(/^http:\/\//, '')}` : googlesUrl;
    return new GooglePubsub(new GoogleRest({ ...by, url, token: emulator ? undefined : tokenSource() }), project);
  }

  /** @throws UsageError in one line, for what is the user's to mend */
  async asking<T>(ask: (client: PubsubClient) => Promise<T>): Promise<T> {
    try {
      return await ask(new PubsubClient(pubsubOver(this.#rest), this.#project));
    } catch (error) {
      const isTold = [DormouseError, GoogleError, PubsubError].some((each) => error instanceof each);
      throw isTold ? new UsageError((error as Error).message, { cause: error }) : error;
    }
  }

  [Symbol.dispose](): void {
    this.#rest.close();
  }
}

/** What the user says, or on a machine of Google's its own account's. */
function tokenSource(): TokenSource {
  const given = process.env.GOOGLE_OAUTH_ACCESS_TOKEN;
  if (given) return async () => given;
  const host = process.env.GCE_METADATA_HOST;
  const metadata = new GoogleRest({ ...by, url: host ? `http://${host}` : metadataUrl });
  const tokens = new AccessTokens(metadata, systemClock);
  return async (refused) => {
    try {
      return await tokens.token(refused);
    } catch (cause) {
      throw new UsageError(
        'there is no access token, and this is no machine of Google’s that has one; set GOOGLE_OAUTH_ACCESS_TOKEN="$(gcloud auth print-access-token)"',
        { cause },
      );
    }
  };
}
