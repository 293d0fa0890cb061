import { createHash } from 'node:crypto';

/**
 * The file name of a letter: `letter-wf-20250129-7k3qxm-stream-tv-1f0c9a2b44d1.pdf`.
 * Lower-case ASCII letters, digits and hyphens, at most 80 bytes, so that every file system takes it, also one that
 * folds case or Unicode forms. The hash of merchant and reference keeps apart what looks alike or cannot be spelled.
 */
export function letterFileName(merchant: string, reference: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([merchant, reference]))
    .digest('hex')
    .slice(0, 12);
  return `${['letter', slug(reference, 32), slug(merchant, 24), hash].filter((part) => part !== '').join('-')}.pdf`;
}

/** What of the text can be spelled in ASCII: `Müller & Söhne` as `muller-sohne`, `星巴克` as nothing. */
function slug(text: string, maxBytes: number): string {
  const ascii = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replaceAll('ß', 'ss').replaceAll('ł', 'l');
  const words = ascii.replace(/[^a-z0-9]+/g, '-');
  return words.slice(0, maxBytes).replace(/^-+|-+$/g, '');
}
