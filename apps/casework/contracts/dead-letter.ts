/** A delivery died: published by Dormouse itself, and by the wire's own dead-letter policy. */
export { deadLetter } from '@dormouse/core';
