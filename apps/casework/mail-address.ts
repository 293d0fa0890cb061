const atom = String.raw`[^\s\p{Cc}@.,;:<>"()[\]\\]+`;
const label = String.raw`[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}-]*[\p{L}\p{N}\p{M}])?`;

/**
 * One bare address, as a mail server takes it: a dot-atom at a host name, in any script. No comments, quotes or address
 * literals. Source: RFC 5321 section 4.1.2, RFC 6531.
 */
export const mailAddress = new RegExp(`^${atom}(?:\\.${atom})*@${label}(?:\\.${label})*$`, 'u');
