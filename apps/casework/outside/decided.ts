import { PermanentError } from '@dormouse/core';
import { OutsideError } from './http.ts';

/** Passes on what the outside answered; a refusal that would come again is made permanent for the step. */
export async function decided<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof OutsideError && error.permanent) throw new PermanentError(error.message, { cause: error });
    throw error;
  }
}
