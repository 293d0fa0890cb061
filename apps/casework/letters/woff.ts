import { inflateSync } from 'node:zlib';

const signature = 0x774f4646;
const headerBytes = 44;
const entryBytes = 20;

/**
 * The TrueType or OpenType font inside a WOFF 1.0 file.
 * fontkit reads WOFF itself, but inflates a whole table for each glyph it touches: one line of UnifontEX took 2.6 s,
 * unwrapped first it takes 0.1 s. (Its WOFF2 takes 450 MB of memory.)
 * Throws a RangeError for anything that is not WOFF 1.0.
 * Source: W3C WOFF File Format 1.0, sections 3 to 5.
 */
export function unwrapWoff(woff: Buffer): Buffer {
  if (woff.length < headerBytes || woff.readUInt32BE(0) !== signature) {
    throw new RangeError(`font: expected a WOFF 1.0 file, got ${woff.length} bytes that are none`);
  }
  const count = woff.readUInt16BE(12);
  const tables = Array.from({ length: count }, (_, index) => {
    const entry = headerBytes + index * entryBytes;
    const start = woff.readUInt32BE(entry + 4);
    const storedBytes = woff.readUInt32BE(entry + 8);
    const bytes = woff.readUInt32BE(entry + 12);
    const stored = woff.subarray(start, start + storedBytes);
    const data = storedBytes < bytes ? inflateSync(stored, { maxOutputLength: bytes }) : stored;
    return { tag: woff.readUInt32BE(entry), checksum: woff.readUInt32BE(entry + 16), data };
  });

  let offset = 12 + 16 * count;
  const sfnt = Buffer.alloc(offset + tables.reduce((sum, { data }) => sum + aligned(data.length), 0));
  sfnt.writeUInt32BE(woff.readUInt32BE(4), 0);
  const power = Math.floor(Math.log2(count));
  sfnt.writeUInt16BE(count, 4);
  sfnt.writeUInt16BE(2 ** power * 16, 6);
  sfnt.writeUInt16BE(power, 8);
  sfnt.writeUInt16BE(count * 16 - 2 ** power * 16, 10);
  for (const [index, { tag, checksum, data }] of tables.entries()) {
    const entry = 12 + index * 16;
    sfnt.writeUInt32BE(tag, entry);
    sfnt.writeUInt32BE(checksum, entry + 4);
    sfnt.writeUInt32BE(offset, entry + 8);
    sfnt.writeUInt32BE(data.length, entry + 12);
    data.copy(sfnt, offset);
    offset += aligned(data.length);
  }
  return sfnt;
}

/** Tables start at multiples of four bytes. */
function aligned(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
