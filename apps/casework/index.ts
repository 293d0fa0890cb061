export {
  type CaseRequest,
  MAX_REQUEST_BYTES,
  parseCaseRequest,
  requestForBareStatement,
} from './case-request/case-request.ts';
export type { Problem } from './statement/problems.ts';
export { isBareStatement, readStatement } from './statement/read-statement.ts';
