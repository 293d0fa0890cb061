import { GoogleError, isPassing } from './google-error.ts';
import type { GoogleRest, RestAnswer } from './google-rest.ts';

export interface Upload {
  /** Of the upload API, with the preconditions in its query. */
  readonly path: string;
  readonly metadata: { readonly contentType: string };
  readonly bytes: Uint8Array;
  readonly pieceBytes: number;
}

/** A session that is gone begins again. */
const maxSessions = 3;
/** Of one session, without a byte more in it. */
const maxStandstills = 5;

/**
 * A large content, in pieces. Where one is not answered, Google is asked how much it has, and it goes on from there.
 * Source: cloud.google.com/storage/docs/performing-resumable-uploads.
 * @throws GoogleError
 */
export async function resumableUpload(rest: GoogleRest, upload: Upload): Promise<void> {
  for (let sessions = 1; ; sessions++) {
    try {
      return await uploadInSession(rest, await begin(rest, upload), upload);
    } catch (error) {
      const isGone = error instanceof GoogleError && [404, 410].includes(error.facts.code) && sessions < maxSessions;
      if (!isGone) throw error;
    }
  }
}

async function begin(rest: GoogleRest, { path, metadata, bytes }: Upload): Promise<string> {
  const { headers } = await rest.request({
    method: 'POST',
    path: `${path}&uploadType=resumable`,
    json: metadata,
    headers: { 'x-upload-content-type': metadata.contentType, 'x-upload-content-length': String(bytes.byteLength) },
  });
  const { pathname, search } = new URL(headers.location!);
  return pathname + search;
}

async function uploadInSession(rest: GoogleRest, session: string, { bytes, pieceBytes }: Upload): Promise<void> {
  const total = bytes.byteLength;
  const put = (range: string, piece: Uint8Array, once: boolean): Promise<RestAnswer> =>
    rest.request({
      method: 'PUT',
      path: session,
      bytes: piece,
      headers: { 'content-range': `bytes ${range}/${total}` },
      answers: [308],
      once,
    });
  let standstills = 0;
  for (let from = 0; ; ) {
    const until = Math.min(from + pieceBytes, total);
    let answer: RestAnswer;
    try {
      answer = await put(`${from}-${until - 1}`, bytes.subarray(from, until), true);
    } catch (error) {
      if (!isPassing(error)) throw error;
      answer = await put('*', Buffer.alloc(0), false);
    }
    if (answer.status !== 308) return;
    const held = heldOf(answer);
    standstills = held > from ? 0 : standstills + 1;
    if (standstills > maxStandstills) {
      throw new GoogleError('UNAVAILABLE', `an upload stands still at ${held} of ${total} bytes`, { code: 0 });
    }
    if (standstills > 0) await rest.pause(standstills);
    from = held;
  }
}

/** `bytes=0-524287`; without it nothing is held. */
function heldOf({ headers }: RestAnswer): number {
  const last = /-(\d+)$/.exec(headers.range ?? '')?.[1];
  return last === undefined ? 0 : Number(last) + 1;
}
