import { systemClock, systemRandom } from '@dormouse/core';
import { GoogleRest, identityToken, metadataUrl } from '@dormouse/gcp';
import { UsageError } from './usage-error.ts';

/** A token that says whose this machine of Google's is, good for one address. @throws UsageError where this is none */
export async function machineIdentity(audience: string): Promise<string> {
  const host = process.env.GCE_METADATA_HOST;
  const url = host ? `http://${host}` : metadataUrl;
  const metadata = new GoogleRest({ url, clock: systemClock, random: systemRandom });
  try {
    return await identityToken(metadata, audience);
  } catch (cause) {
    throw new UsageError(
      `--identity metadata: this is no machine of Google’s that tells who it is (${(cause as Error).message}); set DORMOUSE_IDENTITY_TOKEN="$(gcloud auth print-identity-token)"`,
      { cause },
    );
  } finally {
    metadata.close();
  }
}
