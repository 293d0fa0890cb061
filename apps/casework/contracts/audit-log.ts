/** Every entry of log and journal, as it is committed. Published by Dormouse itself. */
export { auditLog } from '@dormouse/core';
