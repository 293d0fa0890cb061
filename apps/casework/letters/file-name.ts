/**
 * The file name of a letter: `letter-wf-20250129-7k3qxm-l01.pdf`. Its reference alone: names of files are in the log for ever, and
 * where a client buys is nobody's business. Lower-case ASCII letters, digits and hyphens, at most 80 bytes, for every file system.
 */
export function letterFileName(reference: string): string {
  const words = reference.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return `letter-${words.slice(0, 69).replace(/^-+|-+$/g, '')}.pdf`;
}
