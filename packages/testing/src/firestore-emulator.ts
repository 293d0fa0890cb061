import { Emulator, findEmulator } from './google-emulator.ts';

/** For the tests of a project of Vitest's that share one: it is at `FIRESTORE_EMULATOR_HOST`. */
export default async function setup(): Promise<() => void> {
  const program = findEmulator('firestore');
  if ('missing' in program) throw new Error(program.missing);
  const emulator = await Emulator.start(program);
  process.env.FIRESTORE_EMULATOR_HOST = emulator.address;
  return () => emulator[Symbol.dispose]();
}
