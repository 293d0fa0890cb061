// A spare process: loads what every service needs, rehearses, and waits on stdin for the word which one it is to be.
import { pathToFileURL } from 'node:url';
import { rehearse } from './rehearsal.ts';
import type { Calling } from './spares.ts';

// The host has gone, or wants no spare any more.
const unneeded = () => process.exit(0);
process.stdin.on('end', unneeded);
process.on('SIGINT', () => {});
process.stdin.once('data', async (line) => {
  const { file, instance }: Calling = JSON.parse(line.toString());
  process.env.DORMOUSE_INSTANCE = instance;
  await import(pathToFileURL(file).href);
  // From here on the service ends as any instance does. Not before: an end that comes while it loads comes once.
  process.stdin.off('end', unneeded);
});
void rehearse(JSON.parse(process.env.DORMOUSE_INSTANCE!));
