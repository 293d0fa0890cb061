import { createHash, type Hash, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Ref } from '@dormouse/core';
import type { Head } from './chains.ts';
import { HeadsError, publicKeyFrom, publicKeyText } from './heads-key.ts';

const format = 'dormouse heads 1';
const chunkBytes = 65_536;

/** The end of every chain at one moment. Whoever keeps it elsewhere can tell later whether history was rewritten. */
export interface ExportedHeads {
  /** ISO 8601. */
  readonly at: string;
  /** Public key of who signed it. */
  readonly key: string;
  readonly heads: ReadonlyMap<Ref, Head>;
}

/**
 * Writes the head of every chain into one file: a line that says what it is and of when, a line `["chain",seq,"hash"]` for
 * each chain in the order of their bytes, and a last line with the number of chains, the public key and the signature,
 * Ed25519 over the SHA-256 of all bytes before that line. A line at a time: memory does not grow with the chains.
 * @throws HeadsError where the file exists or cannot be written
 */
export function exportHeads(
  database: DatabaseSync,
  file: string,
  privateKey: KeyObject,
  now: number,
): Omit<ExportedHeads, 'heads'> & { readonly chains: number } {
  const at = new Date(now).toISOString();
  const key = publicKeyText(privateKey);
  const beside = `${file}.${randomUUID()}`;
  const hash = createHash('sha256');
  let chains = 0;
  try {
    const descriptor = openSync(beside, 'wx', 0o600);
    try {
      let pending = `${JSON.stringify({ format, at })}\n`;
      const flush = () => {
        hash.update(pending);
        writeSync(descriptor, pending);
        pending = '';
      };
      for (const head of database.prepare('SELECT chain, seq, hash FROM head ORDER BY chain').iterate()) {
        pending += `${JSON.stringify([head.chain, head.seq, head.hash])}\n`;
        chains++;
        if (pending.length > chunkBytes) flush();
      }
      flush();
      const signature = sign(null, signed(hash), privateKey).toString('base64url');
      writeSync(descriptor, `${JSON.stringify({ chains, key, signature })}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    // Not renamed: that would take the place of an earlier export.
    linkSync(beside, file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const why = code === 'EEXIST' ? 'exists already; name a file that does not' : `cannot be written (${message})`;
    throw new HeadsError(`${file} ${why}`, { cause: error });
  } finally {
    rmSync(beside, { force: true });
  }
  return { at, key, chains };
}

/** @throws HeadsError where the file is damaged, cut short, or signed by another key than the one expected */
export function readHeads(file: string, expectedKey: string): ExportedHeads {
  publicKeyFrom(expectedKey);
  const heads = new Map<Ref, Head>();
  const hash = createHash('sha256');
  let at: string | undefined;
  let last: Buffer | undefined;
  for (const line of linesOf(file)) {
    if (last) hash.update(last);
    last = line;
    const read = parsed(line);
    if (at !== undefined) {
      if (Array.isArray(read)) heads.set(read[0], { seq: read[1], hash: read[2] });
      continue;
    }
    if (read?.format !== format) throw new HeadsError(`${file} is no export of heads of this version ("${format}")`);
    at = String(read.at);
  }
  const { chains, key, signature } = (last && parsed(last)) ?? {};
  if (at === undefined || typeof key !== 'string' || typeof signature !== 'string') {
    throw new HeadsError(`${file} is cut short: its signature is missing; take another copy of it`);
  }
  if (key !== expectedKey) {
    throw new HeadsError(
      `${file} is signed by the key ${key}, not by ${expectedKey}; was it exported elsewhere? --key names another`,
    );
  }
  const good = verify(null, signed(hash), publicKeyFrom(key), Buffer.from(signature, 'base64url'));
  if (!good || chains !== heads.size) {
    throw new HeadsError(`${file} was changed after it was signed; take another copy of it`);
  }
  return { at, key, heads };
}

/** What is signed says what it is, so that no signature for something else passes for it. */
function signed(hash: Hash): Buffer {
  return Buffer.from(`${format}\n${hash.digest('hex')}\n`);
}

// biome-ignore lint/suspicious/noExplicitAny: what it says is believed once its signature holds
function parsed(line: Buffer): any {
  try {
    return JSON.parse(line.toString());
  } catch {
    // Damaged: the signature will tell.
    return undefined;
  }
}

/** With their ends; what follows the last end is a line too, and no whole one. */
function* linesOf(file: string): Generator<Buffer> {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (cause) {
    throw new HeadsError(`${file} cannot be read (${(cause as Error).message})`, { cause });
  }
  try {
    const chunk = Buffer.alloc(chunkBytes);
    let rest: Buffer = Buffer.alloc(0);
    for (let count = 1; count > 0; ) {
      count = readSync(descriptor, chunk);
      rest = Buffer.concat([rest, chunk.subarray(0, count)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield rest.subarray(0, end + 1);
        rest = rest.subarray(end + 1);
      }
    }
    if (rest.length > 0) yield rest;
  } finally {
    closeSync(descriptor);
  }
}
