import type { PubsubTransport } from '@dormouse/core';
import { GoogleError } from './google-error.ts';
import type { GoogleRest } from './google-rest.ts';

/**
 * How the client of Pub/Sub reaches Google's. What passes is tried again here: a message that is published twice is of one event, and dies
 * in the inboxes.
 */
export function pubsubOver(rest: GoogleRest): PubsubTransport {
  return async (method, path, json) => {
    try {
      const { status, bytes } = await rest.request({
        method: method as 'POST',
        path,
        // No request of Pub/Sub's that is read by GET has a body.
        ...(method === 'GET' || method === 'DELETE'
          ? {}
          : { bytes: Buffer.from(json), headers: { 'content-type': 'application/json' } }),
      });
      return { status, body: bytes.toString() };
    } catch (error) {
      if (!(error instanceof GoogleError) || error.facts.code === 0) throw error;
      const { status, message, facts } = error;
      return { status: facts.code, body: JSON.stringify({ error: { code: facts.code, status, message } }) };
    }
  };
}
