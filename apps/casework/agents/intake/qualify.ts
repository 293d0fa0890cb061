import { type CaseRequest, intakeReasons } from '../../case-request/case-request.ts';

export interface Qualification {
  readonly approved: boolean;
  /** Why not; empty where approved. */
  readonly reasons: readonly string[];
}

/** Whether a case is taken. */
export function qualify(request: CaseRequest): Qualification {
  const reasons = intakeReasons(request);
  return { approved: reasons.length === 0, reasons };
}
